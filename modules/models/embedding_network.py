"""The embedding network: pixels in, unit vectors out.

Which backbones there are stands in `modules.models.backbones`; this adds the head.
"""

from __future__ import annotations

from typing import Any

import keras

from modules.images import PixelRange
from modules.models.backbones import (
    BACKBONES,
    build_backbone,
    load_backbone_weights,
    prepare_input,
)
from modules.models.presets import load_preset
from modules.models.standard import Standard
from modules.settings import KERAS_HUB, PRESET, ImageSettings, ModelSettings


def build_embedding_model(
    model: ModelSettings,
    image: ImageSettings,
    precision: str = "float32",
    pixels: PixelRange | None = None,
) -> keras.Model:
    """Builds the network `model.name` with an L2-normalised embedding on top.

    The head is dropout, a dense projection to D, batch normalisation (both on demand), length 1.

    Args:
        model: The backbone, its weights, what of it learns, and the head.
        image: The shape of the input.
        precision: Keras dtype policy of the layers, such as `float32` or `mixed_bfloat16`.
            Variables stay float32, so weights can be moved between policies.
        pixels: What the transform graph makes of black and white, see
            `modules.images.find_pixel_range`. Only pre-trained weights need it. Default: as if it
            had standardised with ImageNet's statistics, which is near enough for photographs.

    Returns:
        A model from float32 [N, height, width, channels] to float32 [N, D] of norm 1. The
        normalisation is float32 under every policy.

    Raises:
        ValueError: The images are too small for the network.
        WeightsError: The pre-trained weights cannot be had.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        inputs = keras.Input((image.height, image.width, image.channels), name="image")
        network, standard = _backbone(model, image)
        x = prepare_input(
            inputs,
            standard,
            model.weights != "none",
            pixels or PixelRange.of_imagenet(image.channels),
        )
        x = _resize(x, network.input_shape[1:3])
        if model.trainable == "all":
            x = network(x)
        else:
            network.trainable = model.trainable != "head"
            x = InferenceMode(network)(x)
        if model.dropout:
            x = keras.layers.Dropout(model.dropout, name="dropout")(x)
        x = keras.layers.Dense(
            model.embedding_size, use_bias=not model.batch_norm, name="projection"
        )(x)
        if model.batch_norm:
            x = keras.layers.BatchNormalization(momentum=0.9, name="batch_norm")(x)
        unit = keras.layers.UnitNormalization(dtype="float32", name="embedding")(x)
    finally:
        keras.config.set_dtype_policy(previous)
    return keras.Model(inputs, unit, name=model.name)


def _backbone(model: ModelSettings, image: ImageSettings) -> tuple[keras.Model, Standard | None]:
    if model.name == KERAS_HUB:
        preset = load_preset(model)
        if model.weights not in ("none", PRESET):
            load_backbone_weights(preset.network, model)
        return preset
    return build_backbone(model, image), BACKBONES[model.name].standard


def _resize(x: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    """To the size that a preset was trained with: position embeddings fit no other."""
    if tuple(x.shape[1:3]) == tuple(size):
        return x
    # Without antialiasing where nothing shrinks: it changes nothing there, and TFLite has none.
    smaller = x.shape[1] > size[0] or x.shape[2] > size[1]
    return keras.layers.Resizing(*size, antialias=smaller, dtype="float32")(x)


class InferenceMode(keras.layers.Layer):
    """Calls a pre-trained network as in inference, also while the layers on top are trained.

    Batch normalisation keeps the statistics of the pre-training, which a few small batches of
    triplets would spoil, and dropout is off. The weights can still learn. (An explicit
    `training=False` would not do: a functional model passes its own `training` on to its layers.)
    """

    def __init__(self, network: keras.Model, **options: Any) -> None:
        super().__init__(**options)
        self.network = network

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """[N, H, W, C] to features [N, F]."""
        return self.network(x, training=False)


def backbone_of(embedder: keras.Model) -> keras.Model:
    """The network under the head, of a model that `build_embedding_model` built.

    Its `save_weights("….weights.h5")` writes a file for `model.weights`.
    """
    for layer in embedder.layers:
        network = layer.network if isinstance(layer, InferenceMode) else layer
        if isinstance(network, keras.Model):
            return network
    raise ValueError(f"{embedder.name} was not built by build_embedding_model: it has no backbone.")


def split_frozen(embedder: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a network whose backbone is frozen.

    Args:
        embedder: Built with `trainable = "head"`.

    Returns:
        Pixels to features, float32 [N, F], and features to embeddings; with the same variables.
    """
    frozen = next(layer for layer in embedder.layers if isinstance(layer, InferenceMode))
    features = keras.Input(frozen.output.shape[1:], name="features")
    x = features
    for layer in embedder.layers[embedder.layers.index(frozen) + 1 :]:
        x = layer(x)
    return keras.Model(embedder.input, frozen.output), keras.Model(features, x, name="head")


def backbone_variables(embedder: keras.Model) -> list[keras.Variable]:
    """The trainable variables of the backbone, none if it is frozen.

    With `trainable = "fine_tune"` their learning rate is the head's times
    `ModelSettings.backbone_learning_rate_factor`.
    """
    return backbone_of(embedder).trainable_variables


def normalisations_that_learn(embedder: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The layers of batch normalisation whose statistics change while the network is trained.

    Those of a pre-trained backbone that keeps its own are none of them.

    Args:
        embedder: As `build_embedding_model` builds it.
    """
    kept = {
        id(layer)
        for mode in embedder.layers
        if isinstance(mode, InferenceMode)
        for layer in mode.network._flatten_layers()
    }
    return [
        layer
        for layer in embedder._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and id(layer) not in kept
    ]
