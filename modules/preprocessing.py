"""The Transform `module_file`: encoded images to normalised pixels.

The same graph serves training, evaluation and serving, so there is no skew between them.
Nothing is materialised: decoded floats would take about 30 times the bytes of the encoded images.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from modules.contract import IMAGE
from modules.settings import ImageSettings, from_custom_config


def decode_images(encoded: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """Decodes and resizes a batch of images.

    Args:
        encoded: PNG or JPEG files, string [N].
        settings: The size to deliver.

    Returns:
        Pixels in 0…1, float32 [N, height, width, channels]. Resizing is bilinear with antialiasing.

    Raises:
        tf.errors.InvalidArgumentError: When run, if an image cannot be decoded.
    """
    size = [settings.height, settings.width]

    def decode(image: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(image, channels=settings.channels, expand_animations=False)
        pixels.set_shape([None, None, settings.channels])
        # Skips the resampling (and its rounding) where the image has the right size already.
        resized = tf.cond(
            tf.reduce_all(tf.shape(pixels)[:2] == size),
            lambda: tf.cast(pixels, tf.float32),
            lambda: tf.image.resize(pixels, size, antialias=True),
        )
        return tf.ensure_shape(resized, [*size, settings.channels])

    spec = tf.TensorSpec([*size, settings.channels], tf.float32)
    return tf.map_fn(decode, encoded, fn_output_signature=spec) / 255.0


def _rounded(statistic: tf.Tensor) -> tf.Tensor:
    """To five decimals: Beam adds in any order, and the last bits would change every training."""
    return tf.round(statistic * 1e5) / 1e5


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Builds the transform graph (called by TFX Transform).

    Args:
        inputs: Features of the contract; `image` is a string tensor [N, 1].
        custom_config: `{"image": {...}}`, see `ImageSettings`.

    Returns:
        `image`: float32 [N, height, width, channels]; each channel has mean 0 and variance 1 over
        the train split (full-pass analysis).
    """
    settings = from_custom_config(ImageSettings, custom_config)
    pixels = decode_images(tf.reshape(inputs[IMAGE], [-1]), settings)
    per_channel = tf.reshape(pixels, [-1, settings.channels])
    mean = _rounded(tft.mean(per_channel, reduce_instance_dims=False))
    variance = _rounded(tft.var(per_channel, reduce_instance_dims=False))
    # A constant channel has variance 0; it becomes 0 rather than NaN.
    return {IMAGE: (pixels - mean) * tf.math.rsqrt(tf.maximum(variance, 1e-6))}
