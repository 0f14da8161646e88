"""One decoded image to the size that the network takes."""

from __future__ import annotations

import tensorflow as tf

from modules.settings import ImageSettings


def resize_pixels(pixels: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """Resizes an image, bilinear with antialiasing.

    An image that has the size already is not resampled, so it is not rounded either.

    Args:
        pixels: uint8 [h, w, C], C = `settings.channels`.
        settings: The size to deliver.

    Returns:
        float32 [height, width, C], in 0…255.
    """
    size = [settings.height, settings.width]
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] == size),
        lambda: tf.cast(pixels, tf.float32),
        lambda: tf.image.resize(pixels, size, antialias=True),
    )
    return tf.ensure_shape(resized, [*size, settings.channels])
