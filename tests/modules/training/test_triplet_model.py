"""The training step, on real digits."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.images import decode_images
from modules.losses.memory import Rows
from modules.losses.triplet_loss import TripletLoss
from modules.models.embedding_network import backbone_of, backbone_variables, build_embedding_model
from modules.settings import ImageSettings, ModelSettings, OptimizerSettings, TrainingSettings
from modules.training.fitting import compile_model
from modules.training.optimizers import make_optimizer
from modules.training.triplet_model import TripletModel
from tests.modules.training.training_runs import PLAIN
from tests.real_data import digits

# So small a rate that it is lost in the weights' last bit.
MODEL = ModelSettings(embedding_size=8, batch_norm=False)
FROZEN = OptimizerSettings(learning_rate=1e-30)


@pytest.fixture(scope="module")
def batch() -> tuple[tf.Tensor, tf.Tensor]:
    """12 digits of each of three classes, as 12 explicit triplets."""
    rows = [digits(12, classes=[label]) for label in (3, 5, 8)]
    # Anchors and positives alternate between two classes, the negatives are the third.
    pairs = [
        *zip(rows[0][:6], rows[0][6:], strict=True),
        *zip(rows[1][:6], rows[1][6:], strict=True),
    ]
    ordered = [a for a, _ in pairs] + [p for _, p in pairs] + rows[2]
    images = decode_images(tf.constant([image for image, _, _ in ordered]), ImageSettings())
    return images, tf.constant([int(label) for _, label, _ in ordered])


def frozen_steps(
    batch: tuple[tf.Tensor, tf.Tensor], steps: int, **training
) -> tuple[list[dict], tf.Tensor]:
    """What is logged in each step when the weights do not move, and the embeddings."""
    keras.utils.set_random_seed(0)
    embedder = build_embedding_model(MODEL, ImageSettings())
    trainer = TripletModel(embedder, TrainingSettings(**PLAIN | training))
    trainer.compile(optimizer=make_optimizer(FROZEN, steps), jit_compile=False)
    one_batch = tf.data.Dataset.from_tensors(batch).repeat(steps)
    logged: list[dict] = []
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logged.append(dict(logs)))
    trainer.fit(
        one_batch, steps_per_epoch=1, epochs=steps, shuffle=False, verbose=0, callbacks=[record]
    )
    return logged, embedder(batch[0])


def test_hard_mining_begins_after_the_warm_up(batch) -> None:
    logged, x = frozen_steps(batch, 5, mining="hard", warmup_steps=3, swap=True)
    warmup = float(TripletLoss(mining="semi_hard")(batch[1], x))
    hard = float(TripletLoss(mining="hard", swap=True)(batch[1], x))
    assert hard != pytest.approx(warmup, rel=1e-2)
    losses = [logs["loss"] for logs in logged]
    np.testing.assert_allclose(losses, [warmup] * 3 + [hard] * 2, rtol=1e-4)


def test_without_warm_up_hard_mining_begins_at_once(batch) -> None:
    [logs], x = frozen_steps(batch, 1, mining="hard", warmup_steps=0)
    expected = float(TripletLoss(mining="hard")(batch[1], x))
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_random_draws_differ_between_steps_and_depend_on_the_seed_only(batch) -> None:
    def losses(seed: int) -> list[float]:
        logged, _ = frozen_steps(batch, 3, mining="distance_weighted", seed=seed)
        return [logs["loss"] for logs in logged]

    first = losses(0)
    assert len(set(first)) == 3
    np.testing.assert_allclose(losses(0), first, rtol=1e-5)
    assert losses(1) != pytest.approx(first, rel=1e-5)


def test_logged_means_are_in_the_chosen_distance_and_loss(batch) -> None:
    [l2], _ = frozen_steps(batch, 1, mining="none", distance="l2", margin=2.0)
    [cosine], _ = frozen_steps(batch, 1, mining="none", distance="cosine", margin=1.0)
    [squared], _ = frozen_steps(batch, 1, mining="none", margin=2.0)
    for name in ("d_ap", "d_an"):
        assert cosine[name] == pytest.approx(squared[name] / 2, rel=1e-4)
    assert l2["d_ap"] ** 2 < squared["d_ap"] < l2["d_ap"] * 2  # Jensen; no distance exceeds 2
    [soft], _ = frozen_steps(batch, 1, mining="semi_hard", loss="soft_margin")
    assert soft["active"] == 1


def train(
    batch: tuple[tf.Tensor, tf.Tensor], steps: int, callbacks: Sequence = (), **training
) -> TripletModel:
    keras.utils.set_random_seed(0)
    settings = TrainingSettings(**PLAIN | training)
    embedder = build_embedding_model(MODEL, ImageSettings(), settings.precision)
    trainer = compile_model(embedder, settings, steps, ModelSettings())
    one_batch = tf.data.Dataset.from_tensors(batch).repeat(steps)
    trainer.fit(one_batch, shuffle=False, verbose=0, callbacks=list(callbacks))
    return trainer


def test_evaluation_is_never_augmented(batch) -> None:
    trainer = train(batch, 1, max_shift=0.2, max_contrast=0.5)
    np.testing.assert_array_equal(trainer(batch[0]), trainer.embedder(batch[0]))
    changed = trainer(batch[0], training=True).numpy()
    assert np.abs(changed - trainer(batch[0])).max() > 0.05


def test_averaged_weights_are_lent_only(batch) -> None:
    """Looked at in the end of an epoch, since Keras keeps them at the end of a training."""
    found: list[list[np.ndarray]] = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            found.append(self.model.embedder.get_weights())
            with self.model.averaged_weights():
                found.append(self.model.embedder.get_weights())
            found.append(self.model.embedder.get_weights())

    train(batch, 3, [Look()], ema=0.5)
    for before, lent, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before, after)
        assert np.abs(before - lent).max() > 1e-4


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_the_batch(batch, precision: str) -> None:
    trainer = train(batch, 20, precision=precision, schedule="constant", mining="all")
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer) == (
        precision == "mixed_float16"
    )
    assert {weight.dtype for weight in trainer.embedder.trainable_variables} == {"float32"}
    untrained = build_embedding_model(MODEL, ImageSettings())
    loss, before = (
        float(trainer.evaluate_loss(Rows(tf.cast(batch[1], tf.int64), network(batch[0]))).loss)
        for network in (trainer.embedder, untrained)
    )
    assert loss < 0.7 * before
    assert int(trainer.steps_done.numpy()) == 20


def test_only_the_head_of_a_fine_tuned_network_learns_at_the_full_rate(batch, tmp_path) -> None:
    """Adam's first step moves every weight with a gradient by the learning rate."""
    file = tmp_path / "backbone.weights.h5"
    plain = build_embedding_model(MODEL, ImageSettings())
    backbone_of(plain).save_weights(file)
    model = ModelSettings(
        weights=str(file),
        trainable="fine_tune",
        backbone_learning_rate_factor=0.25,
        batch_norm=False,
    )
    embedder = build_embedding_model(model, ImageSettings())
    before = {v.path: v.numpy() for v in embedder.trainable_variables}
    settings = TrainingSettings(
        **PLAIN, learning_rate=1e-3, schedule="constant", margin=2.0, mining="none"
    )
    trainer = compile_model(embedder, settings, 1, model)
    trainer.fit(tf.data.Dataset.from_tensors(batch), shuffle=False, verbose=0)
    slow = {v.path for v in backbone_variables(embedder)}
    for variable in embedder.trainable_variables:
        moved = np.abs(variable.numpy() - before[variable.path]).max()
        expected = 1e-3 / 4 if variable.path in slow else 1e-3
        assert moved == pytest.approx(expected, rel=0.02), variable.path
    assert 0 < len(slow) < len(embedder.trainable_variables)
