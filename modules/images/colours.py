"""Grey from colour, and what lies behind transparent pixels, each by one formula."""

from __future__ import annotations

import tensorflow as tf

# Luma of ITU-R BT.601, in 1/65536, as Pillow computes it.
_RED, _GREEN, _BLUE = 19595, 38470, 7471


def to_grey(pixels: tf.Tensor) -> tf.Tensor:
    """Grey = 0.299 red + 0.587 green + 0.114 blue, rounded.

    Args:
        pixels: uint8 [h, w, 3].

    Returns:
        uint8 [h, w, 1].
    """
    red, green, blue = tf.split(tf.cast(pixels, tf.int32), 3, axis=2)
    grey = (red * _RED + green * _GREEN + blue * _BLUE + 0x8000) // 0x10000
    return tf.cast(grey, tf.uint8)


def composite(pixels: tf.Tensor, background: tuple[int, int, int]) -> tf.Tensor:
    """Colour = alpha · pixel + (1 − alpha) · background, rounded.

    Args:
        pixels: uint8 [h, w, 4]: red, green, blue and alpha, where 255 is opaque.
        background: Red, green and blue, 0…255.

    Returns:
        uint8 [h, w, 3].
    """
    colours, alpha = tf.split(tf.cast(pixels, tf.int32), [3, 1], axis=2)
    weighted = colours * alpha + (255 - alpha) * tf.constant(background)
    return tf.cast((2 * weighted + 255) // 510, tf.uint8)
