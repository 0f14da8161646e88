"""Training that starts from an exported model."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.export.saved_model import EmbeddingModule
from modules.images import decode_images
from modules.models.embedding_network import build_embedding_model
from modules.models.warm_start import WarmStartError, load_weights
from modules.settings import ImageSettings, ModelSettings

IMAGE = ImageSettings()
RESIDUAL = ModelSettings(name="residual_cnn", embedding_size=16, dropout=0.1, batch_norm=True)


class Decode(keras.layers.Layer):
    """A transform graph without statistics."""

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"image": decode_images(tf.reshape(inputs["image"], [-1]), IMAGE)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[keras.Model, str]:
    """A network whose weights are all different from those of any new one, and its SavedModel."""
    path = str(tmp_path_factory.mktemp("exported") / "model")
    embedder = build_embedding_model(RESIDUAL, IMAGE)
    rng = np.random.default_rng(0)
    embedder.set_weights([rng.random(w.shape).astype(w.dtype) for w in embedder.get_weights()])
    EmbeddingModule(embedder, Decode()).save(path)
    return embedder, path


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_every_weight_is_taken_over(exported, precision: str) -> None:
    embedder, path = exported
    loaded = build_embedding_model(RESIDUAL, IMAGE, precision)
    load_weights(loaded, path)
    for expected, found in zip(embedder.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(expected.numpy(), found.numpy())


@pytest.mark.parametrize(
    "change",
    [
        {"name": "small_cnn", "batch_norm": False},
        {"name": "small_cnn"},
        {"embedding_size": 8},
        {"batch_norm": False},
    ],
)
def test_another_network_is_refused(exported, change: dict) -> None:
    other = build_embedding_model(RESIDUAL.model_copy(update=change), IMAGE)
    with pytest.raises(WarmStartError, match=r"(another network|weights).*\[model\]"):
        load_weights(other, exported[1])


def test_larger_images_are_another_network(exported) -> None:
    other = build_embedding_model(RESIDUAL, ImageSettings(height=32, width=32))
    with pytest.raises(WarmStartError, match=r"another network.*\[image\]"):
        load_weights(other, exported[1])


def test_no_model_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(WarmStartError, match="nothing holds no weights"):
        load_weights(build_embedding_model(RESIDUAL, IMAGE), str(tmp_path / "nothing"))
