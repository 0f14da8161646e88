"""What is measured and drawn at a validation, and which weights are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from modules.batches.reading import LabelledImages
from modules.training.callbacks import BestWeights, RetrievalValidation
from modules.training.triplet_model import TripletModel
from tests.modules.training.training_runs import Run, pixels
from tests.real_data import Row, digits
from tests.retrieval_oracle import Rows, brute_force


def test_validation_without_a_pair_is_refused_before_training(tmp_path) -> None:
    """Else all scores would be NaN and no weights the best ones."""
    images, labels, ids = (np.array(column, object) for column in zip(*digits(1), strict=True))
    with pytest.raises(ValueError, match=r"10 images .* as many classes.*validation_images"):
        RetrievalValidation(LabelledImages(images, labels, ids), pixels, str(tmp_path))


def labelled(rows: list[Row]) -> LabelledImages:
    return LabelledImages(*(np.array(column, object) for column in zip(*rows, strict=True)))


def validated(
    trainer: TripletModel, data: LabelledImages, folder: Path, others: LabelledImages | None = None
) -> dict[str, float]:
    validation = RetrievalValidation(data, pixels, str(folder), others)
    validation.set_model(trainer)
    validation.on_train_begin()
    logs: dict[str, float] = {}
    validation.on_epoch_end(0, logs)
    validation.on_train_end()
    return logs


def test_only_held_out_images_are_queries_and_distractors_are_found_too(tmp_path) -> None:
    """Two classes held out, three others in the gallery only."""
    trainer = Run(tmp_path).trainer()
    held_out, rest = labelled(digits(6, classes=[3, 8])), labelled(digits(6, classes=range(3)))
    found = validated(trainer, held_out, tmp_path / "log", rest)
    queries, others = (
        np.array(trainer.embedder(pixels(tf.constant(p.images)))) for p in (held_out, rest)
    )
    gallery = np.concatenate([queries, others])
    rows = Rows([*held_out.ids, *rest.ids], [*held_out.labels, *rest.labels], gallery)
    scores = brute_force(held_out.ids, held_out.labels, queries, [1], rows).values()
    for name in ("precision@1", "map@r", "d_ap", "d_an"):
        assert found[f"val_{name}"] == pytest.approx(np.mean([s[name] for s in scores]), rel=1e-4)
    spread = (gallery**2).sum(axis=1).mean() - (gallery.mean(axis=0) ** 2).sum()
    assert found["val_spread"] == pytest.approx(spread, rel=1e-3)
    alone = validated(trainer, held_out, tmp_path / "log")
    assert alone["val_map@r"] > found["val_map@r"]


def test_images_alone_in_their_class_may_be_found_among_distractors(tmp_path) -> None:
    single, others = labelled(digits(1)), labelled(digits(2, start=1))
    logs = validated(Run(tmp_path).trainer(), single, tmp_path / "log", others)
    assert 0 < logs["val_map@r"] <= 1
    with pytest.raises(ValueError, match="as many classes"):
        RetrievalValidation(
            labelled(digits(1, classes=[0])), pixels, "", labelled(digits(2, classes=[1]))
        )


def test_of_equal_scores_the_later_weights_are_kept_and_patience_goes_on(tmp_path) -> None:
    trainer = Run(tmp_path).trainer()
    best = BestWeights(patience=3)
    best.set_model(trainer)
    kept = []
    for step, score in enumerate([0.5, 0.7, 0.7, 0.6, 0.7]):
        trainer.steps_done.assign(step)
        trainer.embedder.set_weights([0 * w + step for w in trainer.embedder.get_weights()])
        assert not best.finished
        best.on_epoch_end(step, {"val_map@r": score, "val_precision@1": score})
        best.give_to(trainer.embedder)
        kept.append((best.scores["step"], trainer.embedder.get_weights()[0].max()))
    assert kept == [(0, 0), (1, 1), (2, 2), (2, 2), (4, 4)]
    assert best.finished


def test_tensorboard_shows_distances_weights_and_retrieval(tmp_path) -> None:
    _, best = Run(tmp_path, steps=12).fit()
    histograms: dict[str, np.ndarray] = {}
    scalars: dict[str, list[float]] = {}
    for path in tmp_path.glob("run/**/events.out.tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                content = tf.make_ndarray(value.tensor)
                if value.metadata.plugin_data.plugin_name == "histograms":
                    histograms[value.tag] = content
                elif content.shape == () and content.dtype == np.float32:
                    scalars.setdefault(value.tag, []).append(float(content))
    same, other = (histograms[f"squared_distance/{kind}_class"] for kind in ("same", "different"))
    # Rows of [from, to, count]: all pairs of 60 images, 6 of each class among the first 60 or not.
    assert same[:, 2].sum() + other[:, 2].sum() == 60 * 59 / 2
    mean = [
        (rows[:, :2].mean(axis=1) * rows[:, 2]).sum() / rows[:, 2].sum() for rows in (same, other)
    ]
    assert mean[0] < mean[1]
    assert any("kernel" in tag for tag in histograms)
    assert max(scalars["epoch_map@r"]) == pytest.approx(float(best.state()["best"]))
    assert {"epoch_loss", "epoch_active", "epoch_d_ap", "epoch_d_an", "epoch_spread"} <= set(
        scalars
    )
    assert "epoch_learning_rate" in scalars
