"""Random changes of training images, all of a step drawn from one seed."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from modules.images.orientations import TURNS
from modules.settings import AugmentationSettings


class Augmentation(keras.layers.Layer):
    """Shifts, rotates, zooms, shears, flips and re-lights images, each in its own way.

    Shift, rotation, zoom, shear and flip are one affine map, so an image is resampled once. The
    nearest edge pixel fills what comes into view. It is part of the training step, not of the
    network, so evaluation and serving never see it.

    Args:
        settings: The largest changes; without any the layer does nothing.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        super().__init__(name="augmentation", trainable=False)
        self._settings = settings

    def call(
        self, images: tf.Tensor, seed: tf.Tensor, orientations: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Changes a batch.

        Args:
            images: float32 [N, H, W, C], standardised.
            seed: Integer [2]; the result depends on nothing else.
            orientations: Those of the images' classes, int32 [N], see `draw_orientations`. Default:
                upright.

        Returns:
            float32 [N, H, W, C].
        """
        settings = self._settings
        if settings.moves_pixels:
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=self._affine(tf.shape(images), _fold(seed, 0), orientations),
                output_shape=tf.shape(images)[1:3],
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="NEAREST",
            )
        count = tf.shape(images)[:1]
        if settings.max_contrast:
            factor = 1 + settings.max_contrast * _symmetric(count, _fold(seed, 1))
            mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
            images = mean + (images - mean) * factor[:, None, None, None]
        if settings.max_brightness:
            added = settings.max_brightness * _symmetric(count, _fold(seed, 2))
            images += added[:, None, None, None]
        return images

    def _affine(
        self, shape: tf.Tensor, seed: tf.Tensor, orientations: tf.Tensor | None
    ) -> tf.Tensor:
        """Maps of output to input coordinates, float32 [N, 8], as the operation takes them."""
        settings = self._settings
        height, width = (tf.cast(shape[axis], tf.float32) for axis in (1, 2))
        draws = tf.random.stateless_uniform([6, shape[0]], seed, -1.0, 1.0)
        angle = 2 * math.pi * settings.max_rotation * draws[0]
        shift_y = settings.max_shift * height * draws[1]
        shift_x = settings.max_shift * width * draws[2]
        zoom = 1 + settings.max_zoom * draws[3]
        mirror = tf.where(draws[4] < 0, -1.0, 1.0) if settings.horizontal_flip else 1.0
        shear = settings.max_shear * draws[5]
        if orientations is not None:
            angle += math.pi / 2 * tf.cast(orientations % TURNS, tf.float32)
            mirror *= tf.where(orientations < TURNS, 1.0, -1.0)
        # Input = R · S · (output − centre − shift) / zoom + centre, with x mirrored about the
        # centre; S adds shear · y to x.
        cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
        x_x, x_y = mirror * cos, mirror * (cos * shear - sin)
        y_x, y_y = sin, sin * shear + cos
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        from_x, from_y = centre_x + shift_x, centre_y + shift_y
        x_0 = centre_x - x_x * from_x - x_y * from_y
        y_0 = centre_y - y_x * from_x - y_y * from_y
        zero = tf.zeros_like(angle)
        return tf.stack([x_x, x_y, x_0, y_x, y_y, y_0, zero, zero], axis=1)


def _fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)


def _symmetric(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform in −1…1."""
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
