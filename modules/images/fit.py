"""One decoded image to the size that the network takes."""

from __future__ import annotations

import tensorflow as tf

from modules.images.colours import to_grey
from modules.settings import ImageSettings


def resize_pixels(pixels: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """Resizes an image, bilinear with antialiasing.

    `settings.fit` says what becomes of an image of another form than the one to deliver. With
    sides h and w, to be H and W:

    - `squash`: each side is scaled by itself, by H / h and W / w.
    - `letterbox`: both are scaled by the smaller one of the two, and rounded; the image stands in
      the middle, and the background fills the rest.
    - `crop`: the part in the middle that has the form H : W is kept, as much of it as there is,
      its sides rounded; then both are scaled by the larger one of the two.

    An image of the form to deliver is the same with all three. One that has the size already is not
    resampled, so it is not rounded either.

    Args:
        pixels: uint8 [h, w, C], C = `settings.channels`.
        settings: The size to deliver, and the background.

    Returns:
        float32 [H, W, C], in 0…255.
    """
    size = [settings.height, settings.width]
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[:2] == size),
        lambda: tf.cast(pixels, tf.float32),
        lambda: _fitted(pixels, tf.constant(size), settings),
    )
    return tf.ensure_shape(resized, [*size, settings.channels])


def _fitted(pixels: tf.Tensor, size: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    if settings.fit == "letterbox":
        return _letterbox(pixels, size, settings)
    return _squash(pixels if settings.fit == "squash" else _middle(pixels, size), size)


def _squash(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.image.resize(pixels, size, antialias=True)


def _letterbox(pixels: tf.Tensor, size: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    sides = tf.shape(pixels)[:2]
    scaled = _rounded(sides, tf.reduce_min(size / sides), most=size)
    before = (size - scaled) // 2
    bars = tf.pad(tf.stack([before, size - scaled - before], axis=1), [[0, 1], [0, 0]])
    inside = tf.pad(tf.ones(tf.concat([scaled, [1]], 0), tf.bool), bars)
    background = tf.constant([[settings.background_rgb]], tf.uint8)
    if settings.channels == 1:
        background = to_grey(background)
    return tf.where(inside, tf.pad(_squash(pixels, scaled), bars), tf.cast(background, tf.float32))


def _middle(pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    sides = tf.shape(pixels)[:2]
    kept = _rounded(size, tf.reduce_min(sides / size), most=sides)
    top, left = tf.unstack((sides - kept) // 2)
    height, width = tf.unstack(kept)
    return pixels[top : top + height, left : left + width]


def _rounded(sides: tf.Tensor, scale: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Both sides scaled, at least 1, int32 [2]."""
    scaled = tf.cast(tf.round(tf.cast(sides, tf.float64) * scale), tf.int32)
    return tf.clip_by_value(scaled, 1, most)
