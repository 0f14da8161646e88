"""Random changes of training images, all of a step drawn from one seed."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from modules.images.bent_classes import bend
from modules.images.turned_classes import TURNS
from modules.settings import AugmentationSettings

_SLIMMEST = 0.3  # the short side of what is erased by the long one, in the form of the image


class Augmentation(keras.layers.Layer):
    """Moves, crops, re-lights, re-colours and partly hides images, each in its own way.

    Shift, rotation, zoom, shear, flip and crop are one affine map, so an image is resampled once.
    The nearest edge pixel fills what comes into view. It is part of the training step, not of the
    network, so evaluation and serving never see it.

    In the order in which they are done:

    - Bending, of whole classes, see `bend`.
    - Crop (Szegedy et al. 2015, arXiv:1409.4842): a window anywhere inside of the image is scaled
      to the whole. Its share a of the area is uniform in 1 − `max_crop` … 1, the ratio r of its
      width to its height (1: the form of the image) is log-uniform in 1 / (1 + `max_stretch`) …
      1 + `max_stretch`. Its sides are √(a·r) and √(a / r) of the image's, but 1 at most, so at
      least 1 − `max_crop` of the area is kept, or 1 / (1 + `max_stretch`) if that is less.
    - Shift, rotation, zoom, shear, flip: of what the window shows.
    - Contrast about the mean of each channel, then brightness.
    - Colours: saturation scales the distance of a pixel's channels to their mean, hue turns them
      about the axis of grey. Pixels are standardised, so grey is the mean colour of the train
      split, and colours keep their brightness, the mean of the channels.
    - Erasing (Zhong et al. 2017, arXiv:1708.04896): a rectangle anywhere inside of the image gets
      the mean colour of the train split, 0. Its share of the area is uniform in 0 … `max_erased`,
      the ratio of its sides is log-uniform in 0.3 … 1 / 0.3, but neither is longer than the image.

    Args:
        settings: The largest changes; without any the layer does nothing.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        super().__init__(name="augmentation", trainable=False)
        self._settings = settings

    def call(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        orientations: tf.Tensor | None = None,
        bends: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Changes a batch.

        Args:
            images: float32 [N, H, W, C], standardised.
            seed: Integer [2]; the result depends on nothing else.
            orientations: Those of the images' classes, int32 [N], see `draw_orientations`. Default:
                upright.
            bends: How they are bent, float32 [N, 18], see `draw_bends`. Default: not.

        Returns:
            float32 [N, H, W, C].
        """
        settings = self._settings
        if bends is not None:
            images = bend(images, bends, settings.bend_classes)
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
        if settings.max_saturation or settings.max_hue:
            images = self._recolour(images, _fold(seed, 4))
        if settings.max_erased:
            images = tf.where(self._erased(tf.shape(images), _fold(seed, 5)), 0.0, images)
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
        if settings.crops:
            # Input = scale · what was found so far + offset, about the edges of the image.
            scale_x, scale_y, left, top = self._window(shape[0], _fold(seed, 3))
            x_x, x_y = scale_x * x_x, scale_x * x_y
            y_x, y_y = scale_y * y_x, scale_y * y_y
            x_0 = scale_x * (x_0 + 0.5) - 0.5 + left * width
            y_0 = scale_y * (y_0 + 0.5) - 0.5 + top * height
        zero = tf.zeros_like(angle)
        return tf.stack([x_x, x_y, x_0, y_x, y_y, y_0, zero, zero], axis=1)

    def _window(self, count: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Width, height, left and top edge of what is kept, as shares of the sides, [N] each."""
        settings = self._settings
        draws = tf.random.stateless_uniform([4, count], seed)
        area = 1 - settings.max_crop * draws[0]
        ratio = tf.exp(math.log1p(settings.max_stretch) * (2 * draws[1] - 1))
        width = tf.minimum(tf.sqrt(area * ratio), 1.0)
        height = tf.minimum(tf.sqrt(area / ratio), 1.0)
        return width, height, (1 - width) * draws[2], (1 - height) * draws[3]

    def _recolour(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        settings = self._settings
        draws = tf.random.stateless_uniform([2, tf.shape(images)[0]], seed, -1.0, 1.0)
        saturation = (1 + settings.max_saturation * draws[0])[:, None, None, None]
        angle = (2 * math.pi * settings.max_hue * draws[1])[:, None, None, None]
        mean = tf.reduce_mean(images, axis=3, keepdims=True)
        colour = saturation * (images - mean)
        # Rodrigues' rotation about (1, 1, 1) / √3; what stands at right angles is a difference.
        turned = (tf.roll(colour, 1, 3) - tf.roll(colour, -1, 3)) / math.sqrt(3)
        return mean + tf.cos(angle) * colour + tf.sin(angle) * turned

    def _erased(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Which pixels are painted over, bool [N, H, W, 1]."""
        draws = tf.random.stateless_uniform([4, shape[0]], seed)
        area = self._settings.max_erased * draws[0]
        ratio = tf.exp(-math.log(_SLIMMEST) * (2 * draws[1] - 1))
        hidden = []
        for axis, share, place in ((1, area / ratio, draws[2]), (2, area * ratio, draws[3])):
            side = tf.cast(shape[axis], tf.float32)
            length = tf.floor(tf.minimum(tf.sqrt(share), 1.0) * side)
            start = tf.floor(place * (side - length + 1))[:, None]
            pixel = tf.range(side)[None, :]
            hidden.append((pixel >= start) & (pixel < start + length[:, None]))
        return (hidden[0][:, :, None] & hidden[1][:, None, :])[..., None]


def _fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)


def _symmetric(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform in −1…1."""
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
