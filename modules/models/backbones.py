"""The networks under the embedding: pixels in, one feature vector out, and their weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from modules.images import IMAGENET_DEVIATION, IMAGENET_MEAN, PixelRange
from modules.models.standard import Standard, WeightsError
from modules.settings import ImageSettings, ModelSettings

Shape = tuple[int, int, int]


class Backbone(NamedTuple):
    """A network of the registry.

    `build` takes the input's shape and `weights` (None or "imagenet"). `standard` is there where
    keras.applications publishes weights; such networks take three channels.
    """

    build: Callable[[Shape, str | None], keras.Model]
    standard: Standard | None = None


def small_cnn(shape: Shape, weights: str | None = None) -> keras.Model:
    """The classic of the tutorials: conv 32, pool, conv 64, pool, dense 128."""
    inputs = keras.Input(shape)
    x = layers.Flatten()(_stem(inputs, (3, 3)))
    return keras.Model(inputs, layers.Dense(128, activation="relu")(x), name="small_cnn")


def _stem(inputs: keras.KerasTensor, kernels: tuple[int, int]) -> keras.KerasTensor:
    """Convolutions to 32 and to 64 channels, each with bias and ReLU and then pooled by 2.

    Pooling leaves out the last row and column of an odd size. The pixels that lead to nothing else
    are cut off first, so nothing is computed of them: of 28 pixels and kernels of 3, 26 are seen.
    """
    x = layers.Cropping2D([(0, size - _seen(size, kernels)) for size in inputs.shape[1:3]])(inputs)
    for filters, kernel in zip((32, 64), kernels, strict=True):
        x = layers.Conv2D(filters, kernel, use_bias=False)(x)
        x = BiasReLU()(layers.MaxPooling2D()(x))
    return x


def _seen(size: int, kernels: tuple[int, int]) -> int:
    """How many rows or columns of pixels reach the output of `_stem`."""
    for kernel in kernels:
        size = (size - kernel + 1) // 2
    for kernel in reversed(kernels):
        size = 2 * size + kernel - 1
    return size


class BiasReLU(layers.Layer):
    """Adds a number to each channel and cuts off below 0, max(x + b, 0).

    After a convolution and max-pooling it gives the same function as bias and ReLU before the
    pooling, since the maximum commutes with both. It is faster, on a quarter of the values.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the bias, float32 [C], zeros."""
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[N, H, W, C] to the same shape."""
        return tf.nn.relu(tf.nn.bias_add(x, tf.convert_to_tensor(self.bias)))


def residual_cnn(shape: Shape, weights: str | None = None) -> keras.Model:
    """A compact residual network (He et al. 2016) for images of about 28 to 64 pixels.

    The stem is that of `small_cnn`, where a CPU spends most of its time. Residual blocks on small
    maps add depth at little cost: one, and before it one for each halving that it takes to come
    down to 7 × 7. The map is flattened, not averaged, since on digits it matters which stroke is
    where. No dense layer with ReLU stands between it and the embedding: retrieval was worse with
    one.
    """
    inputs = keras.Input(shape)
    x = _stem(inputs, (5, 3))
    while max(x.shape[1:3]) > 7:
        x = _residual_block(x, strides=2)
    x = layers.Flatten()(_residual_block(x))
    return keras.Model(inputs, x, name="residual_cnn")


def _residual_block(x: keras.KerasTensor, strides: int = 1) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, which is a projection where the map shrinks."""
    shortcut = x if strides == 1 else _convolution(x, kernel=1, strides=strides)
    y = layers.ReLU()(_convolution(x, strides=strides))
    return layers.ReLU()(layers.Add()([_convolution(y), shortcut]))


def _convolution(x: keras.KerasTensor, *, kernel: int = 3, strides: int = 1) -> keras.KerasTensor:
    """To as many channels, with batch normalisation."""
    x = layers.Conv2D(x.shape[-1], kernel, strides=strides, padding="same", use_bias=False)(x)
    # Training is hundreds of steps, not tens of thousands: Keras's momentum of 0.99 would still
    # remember the first weights at the first validations.
    return layers.BatchNormalization(momentum=0.9)(x)


def _application(network: Callable[..., keras.Model], **options: Any) -> Callable[..., keras.Model]:
    """A network of keras.applications without its classifier and its own preprocessing."""

    def build(shape: Shape, weights: str | None) -> keras.Model:
        return network(
            input_shape=shape, weights=weights, include_top=False, pooling="avg", **options
        )

    return build


def convnext_tiny(shape: Shape, weights: str | None) -> keras.Model:
    """That of keras.applications, with an operation that is faster on a processor."""
    network = _application(keras.applications.ConvNeXtTiny, include_preprocessing=False)(
        shape, weights
    )
    for layer in network.layers:
        if type(layer) is layers.Conv2D and 1 < layer.groups == layer.filters:
            layer.__class__ = GroupedByChannel  # the same variables, so weights files fit
    return network


class GroupedByChannel(layers.Conv2D):
    """A convolution with a group for each channel, `groups` = `filters`, and strides of 1.

    Keras takes the operation for any number of groups, which TensorFlow computes group by group on
    a processor. The depthwise one gives the same values in a fraction of the time.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[N, H, W, C] and the kernel, [h, w, 1, C], to [N, H', W', C]."""
        kernel = tf.transpose(tf.convert_to_tensor(kernel), [0, 1, 3, 2])
        return tf.nn.depthwise_conv2d(inputs, kernel, [1, 1, 1, 1], self.padding.upper())


_IMAGENET = Standard(IMAGENET_MEAN, IMAGENET_DEVIATION)
_MINUS_ONE_TO_ONE = Standard((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

BACKBONES: dict[str, Backbone] = {
    "small_cnn": Backbone(small_cnn),
    "residual_cnn": Backbone(residual_cnn),
    "efficientnet_v2_b0": Backbone(
        _application(keras.applications.EfficientNetV2B0, include_preprocessing=False), _IMAGENET
    ),
    "mobilenet_v3_small": Backbone(
        _application(keras.applications.MobileNetV3Small, include_preprocessing=False),
        _MINUS_ONE_TO_ONE,
    ),
    "mobilenet_v3_large": Backbone(
        _application(keras.applications.MobileNetV3Large, include_preprocessing=False),
        _MINUS_ONE_TO_ONE,
    ),
    "convnext_tiny": Backbone(convnext_tiny, _IMAGENET),
    "resnet50_v2": Backbone(_application(keras.applications.ResNet50V2), _MINUS_ONE_TO_ONE),
}


def build_backbone(model: ModelSettings, image: ImageSettings) -> keras.Model:
    """Builds the network `model.name` and gives it the weights `model.weights`.

    Args:
        model: The name, and `none` (random weights), `imagenet` (downloaded by Keras) or the path
            of a weights file: `.weights.h5` (see `backbone_of`) or the `.h5` that
            keras.applications publishes for the network without its top.
        image: The size of the input.

    Returns:
        A model to features, [N, F] in the dtype policy of the process. It takes [N, H, W, C], or
        three channels whatever C is if it comes from keras.applications.

    Raises:
        ValueError: The images are too small for the network.
        WeightsError: There is no such file, it holds other weights, or the download failed.
    """
    model.check_image(image)
    entry = BACKBONES[model.name]
    channels = 3 if entry.standard else image.channels
    shape = (image.height, image.width, channels)
    if model.weights == "imagenet":
        try:
            return entry.build(shape, "imagenet")
        except Exception as error:  # Keras wraps every fault of a download in a bare Exception
            raise WeightsError(
                f"The ImageNet weights of {model.name} could not be downloaded: {error}. Without "
                "internet, download that file elsewhere and set model.weights to its path."
            ) from error
    network = entry.build(shape, None)
    if model.weights != "none":
        load_backbone_weights(network, model)
    return network


def load_backbone_weights(network: keras.Model, model: ModelSettings) -> None:
    """Loads the file `model.weights`, local or of any file system that TensorFlow reads.

    Raises:
        WeightsError: There is no such file, or it holds other weights.
    """
    path = model.weights
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise WeightsError(
            f"model.weights: there is no file {path}. Give 'none', 'imagenet' or the path of a "
            ".weights.h5 or .h5 file that this machine can read."
        )
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / Path(path).name)
        tf.io.gfile.copy(path, local)
        try:
            network.load_weights(local)
        except (ValueError, KeyError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(
                f"model.weights: {path} does not hold the weights of {model.name} without its "
                f"classifier ({reason}). Set model.name to the network that it was saved from."
            ) from error


def prepare_input(
    x: keras.KerasTensor, standard: Standard | None, pretrained: bool, pixels: PixelRange
) -> keras.KerasTensor:
    """Transformed pixels to what the backbone takes, but for its size.

    Networks that start from random weights take the standardised pixels as they are. Published
    weights were trained on pixels of another standard: for them the standardisation of the
    transform graph is undone and theirs applied, both in one linear map. Published networks
    take three channels, so a single one is repeated.

    Args:
        x: [N, H, W, C].
        standard: Of published networks.
        pretrained: Whether it has weights to start from.
        pixels: What the transform graph makes of black and white.

    Returns:
        [N, H, W, C or 3].
    """
    if standard is None:
        return x
    if x.shape[-1] == 1:
        x = layers.Concatenate()([x, x, x])
    if not pretrained:
        return x
    black, white = (np.broadcast_to(np.array(end), 3) for end in pixels)
    scale = 1 / ((white - black) * standard.deviation)
    offset = -black * scale - np.divide(standard.mean, standard.deviation)
    # float32 under every policy: bfloat16 has too few bits for a pixel.
    return layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32")(x)
