"""The registry of embedding networks: pixels in, unit vectors out."""

from __future__ import annotations

from collections.abc import Callable

import keras

from modules.settings import ImageSettings, ModelSettings


def small_cnn(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The classic of the tutorials: conv 32, pool, conv 64, pool, dense 128."""
    x = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(64, 3, activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    return keras.layers.Dense(128, activation="relu")(x)


BACKBONES: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {"small_cnn": small_cnn}


def build_embedding_model(
    model: ModelSettings, image: ImageSettings, precision: str = "float32"
) -> keras.Model:
    """Builds the network `model.name` with an L2-normalised embedding on top.

    Args:
        model: Which backbone, and the size D of the embedding.
        image: The shape of the input.
        precision: Keras dtype policy of the layers, such as `float32` or `mixed_bfloat16`.
            Variables stay float32, so weights can be moved between policies.

    Returns:
        A model from float32 [N, height, width, channels] to float32 [N, D] of norm 1. The
        normalisation is float32 under every policy.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        inputs = keras.Input((image.height, image.width, image.channels), name="image")
        features = BACKBONES[model.name](inputs)
        embedding = keras.layers.Dense(model.embedding_size, name="projection")(features)
        unit = keras.layers.UnitNormalization(dtype="float32", name="embedding")(embedding)
    finally:
        keras.config.set_dtype_policy(previous)
    return keras.Model(inputs, unit, name=model.name)
