"""The network that is served is the network that was trained."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.batches.reading import TransformImages, labelled_images
from modules.images import decode_images
from modules.models import normalisations_that_learn
from modules.models.backbones import BACKBONES
from modules.settings import ImageSettings, ModelSettings
from modules.training.batch_statistics import BatchStatistics
from modules.training.triplet_model import TripletModel
from tests.modules.training.training_runs import Run, pixels

HEAD = ModelSettings(embedding_size=8)  # batch normalisation on top only
LARGER = ImageSettings(height=32, width=32, channels=1)
# Steps; one of convnext_tiny takes a second of the processor, and a few are enough.
TRAINED = {
    "small_cnn": 100, "residual_cnn": 100, "mobilenet_v3_small": 50, "efficientnet_v2_b0": 50,
    "convnext_tiny": 12,
}  # fmt: skip


def larger_pixels(encoded: tf.Tensor) -> tf.Tensor:
    return (decode_images(encoded, LARGER) - 0.13) / 0.31


def estimated(
    trainer: TripletModel,
    images: np.ndarray,
    batch_size: int,
    steps: int,
    transform: TransformImages = pixels,
) -> dict:
    callback = BatchStatistics(images, batch_size, transform, print)
    callback.set_model(trainer)
    callback.on_train_begin()
    trainer.steps_done.assign_add(steps)
    logs: dict[str, float] = {}
    callback.on_epoch_end(0, logs)
    return logs


@pytest.mark.parametrize(("steps", "count"), [(6, 1), (16, 2), (24, 3), (99, 3)])
def test_they_are_the_exact_means_over_the_batches(tmp_path, steps: int, count: int) -> None:
    """Of 60 images in batches of 20, as many as a twentieth of the training pays for."""
    run = Run(tmp_path, HEAD)
    trainer = run.trainer()
    [layer] = normalisations_that_learn(trainer.embedder)
    layer.moving_mean.assign(np.full(8, np.nan, np.float32))  # what was there has no part in it
    images = labelled_images(run.files, 60).images
    logs = estimated(trainer, images, 20, steps)
    before = keras.Model(trainer.embedder.input, trainer.embedder.get_layer("projection").output)
    values = np.array(before(pixels(tf.constant(images)))).reshape(3, 20, 8)[:count]
    np.testing.assert_allclose(layer.moving_mean, values.mean(axis=1).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, values.var(axis=1).mean(axis=0), rtol=1e-4)
    assert layer.momentum == 0.9
    assert 0.9 < logs["served_agreement"] <= 1
    assert 0.5 < logs["served_spread"] <= 1


def test_they_are_those_of_the_averaged_weights(tmp_path) -> None:
    run = Run(tmp_path, HEAD, ema=0.9, steps=12)
    trainer, best = run.fit()
    [layer] = normalisations_that_learn(trainer.embedder)
    best.give_to(trainer.embedder)  # averaged
    kept = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    before = keras.Model(trainer.embedder.input, trainer.embedder.get_layer("projection").output)
    images = labelled_images(run.files, 8 * 60).images[:60]
    values = np.array(before(pixels(tf.constant(images))))
    np.testing.assert_allclose(kept[0], values.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(kept[1], values.var(axis=0), rtol=1e-3)


def test_without_batch_normalisation_that_learns_nothing_is_done(tmp_path) -> None:
    run = Run(tmp_path)
    trainer = run.trainer()
    before = trainer.embedder.get_weights()
    assert estimated(trainer, labelled_images(run.files, 20).images, 20, 99) == {}
    for first, second in zip(before, trainer.embedder.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_is_served_otherwise_than_trained_is_told_once(tmp_path) -> None:
    """Dropout of nearly everything: training sees other features at each step."""
    run = Run(tmp_path, HEAD.model_copy(update={"dropout": 0.99}))
    told: list[str] = []
    callback = BatchStatistics(labelled_images(run.files, 20).images, 20, pixels, told.append)
    callback.set_model(run.trainer())
    callback.on_train_begin()
    for epoch in range(2):
        callback.on_epoch_end(epoch, {})
    [line] = told
    assert "the network that would be served is not the one in training" in line


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_network_separates_its_training_images_as_it_is_served(tmp_path, name: str) -> None:
    """From random weights, after few steps; chance would be a tenth."""
    steps = TRAINED[name]
    run = Run(
        tmp_path, ModelSettings(name=name, embedding_size=16), LARGER,
        steps=steps, validate_every=steps // 2, classes_per_batch=10, images_per_class=4,
    )  # fmt: skip
    _, best = run.fit(transform=larger_pixels)
    assert best.scores["val_precision@1"] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*BACKBONES} - {*TRAINED}))
def test_a_larger_network_is_served_as_it_is_in_training(tmp_path, name: str) -> None:
    """Without training, which takes a minute: before the estimate another network would be served.

    One that leaves out blocks at random is not the same in training before it has learned.
    """
    run = Run(tmp_path, ModelSettings(name=name, embedding_size=16), LARGER)
    trainer = run.trainer()
    encoded = labelled_images(run.files, 40).images
    images = larger_pixels(tf.constant(encoded))
    served = trainer.embedder(images, training=False).numpy()
    trained = trainer.embedder(images, training=True).numpy()
    assert (trained * served).sum(axis=1).mean() < 0.5
    logs = estimated(trainer, encoded, 40, 8, larger_pixels)
    assert logs["served_agreement"] > 0.9
