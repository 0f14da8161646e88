"""The guard against trainings that lead nowhere, and what is drawn at a validation."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import tensorflow as tf

from modules.batches.reading import LabelledImages
from modules.settings import TrainingSettings
from modules.training.callbacks import FailureGuard, RetrievalValidation, TrainingFailedError
from tests.modules.training.training_runs import Run, pixels
from tests.real_data import digits

MARGIN = 1 / 5
GOOD = {"loss": MARGIN / 2, "d_ap": 0.3, "d_an": 0.9, "spread": 0.8}
STUCK = {"loss": MARGIN * 21 / 20, "d_ap": 0.09, "d_an": 0.08, "spread": 0.05}


def survives(logs: list[dict[str, float]], **settings) -> bool:
    guard = FailureGuard(TrainingSettings(**settings))
    try:
        for epoch, values in enumerate(logs):
            guard.on_epoch_end(epoch, values)
    except TrainingFailedError:
        return False
    return True


def test_only_a_whole_window_with_the_loss_at_the_margin_ends_training() -> None:
    assert survives([GOOD] * 9)
    assert survives([STUCK, STUCK, GOOD] * 3)
    assert not survives([GOOD, STUCK, STUCK, STUCK])
    assert survives([STUCK] * 4, guard_window=5)
    # Far from the margin, or apart in spite of it.
    assert survives([STUCK | {"loss": MARGIN * 4 / 5}] * 4)
    assert survives([STUCK | {"d_an": 0.09 + MARGIN / 5}] * 4)


def test_soft_margin_is_stuck_at_log_2() -> None:
    logs = STUCK | {"loss": math.log(2)}
    assert not survives([logs] * 3, loss="soft_margin")
    assert survives([logs] * 3)


def test_the_window_goes_on_in_a_resumed_training() -> None:
    settings = TrainingSettings()
    first, second = FailureGuard(settings), FailureGuard(settings)
    for epoch in range(2):
        first.on_epoch_end(epoch, STUCK)
    second.restore(first.state())
    with pytest.raises(TrainingFailedError, match=r"stuck for 3 validations at 0\.210"):
        second.on_epoch_end(2, STUCK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # From random weights, without the warm-up.
        ({"mining": "hard", "warmup_steps": 0, "steps": 60}, r"collapsed|stuck .*warmup_steps"),
        ({"learning_rate": 1.0, "schedule": "constant"}, r"collapsed|stuck .*learning_rate"),
        (
            {"learning_rate": 1.0, "schedule": "constant", "precision": "mixed_float16"},
            r"loss is nan .*learning_rate",
        ),
    ],
)
def test_trainings_known_to_fail_are_stopped_with_advice(tmp_path, settings, message) -> None:
    with pytest.raises(TrainingFailedError, match=message) as caught:
        Run(tmp_path, **settings).fit()
    assert re.search("no model was written", str(caught.value))


def test_a_warm_up_saves_hard_mining(tmp_path) -> None:
    Run(tmp_path, mining="hard", warmup_steps=20, steps=40, validate_every=10).fit()


def test_validation_without_a_pair_is_refused_before_training(tmp_path) -> None:
    """Else all scores would be NaN and no weights the best ones."""
    images, labels, ids = (np.array(column, object) for column in zip(*digits(1), strict=True))
    with pytest.raises(ValueError, match=r"10 images .* as many classes.*validation_images"):
        RetrievalValidation(LabelledImages(images, labels, ids), pixels, str(tmp_path))


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
