"""Encoded images to pixels of one size."""

from __future__ import annotations

import tensorflow as tf

from modules.images.fit import resize_pixels
from modules.settings import ImageSettings


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

    def decode(image: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(image, channels=settings.channels, expand_animations=False)
        pixels.set_shape([None, None, settings.channels])
        return resize_pixels(pixels, settings)

    size = [settings.height, settings.width]
    spec = tf.TensorSpec([*size, settings.channels], tf.float32)
    return tf.map_fn(decode, encoded, fn_output_signature=spec) / 255.0
