"""Encoded images to pixels: the one function with which every node and the served model sees.

`docs/images.md` says what becomes of each kind of file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modules.images.decoder import Decoder
from modules.images.fit import resize_pixels
from modules.images.kinds import Kind, are_grey_png, tell_kinds
from modules.settings import ImageSettings


@tf.autograph.experimental.do_not_convert  # it would only take time
def decode_images(encoded: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """Decodes and resizes a batch of images, turned upright and without transparency.

    A JPEG at least twice as large as needed is made smaller by 2, 4 or 8 while it is decoded (by
    the inverse DCT of libjpeg), which is faster; the rest is resized as any other image.

    Args:
        encoded: Files, string [N]: JPEG, PNG, WebP without animation, BMP of 24 or 32 bits, GIF
            without transparency (its first frame).
        settings: The size to deliver, the colour behind transparent images, and how many pixels a
            file may declare.

    Returns:
        Pixels in 0…1, float32 [N, height, width, channels].

    Raises:
        tf.errors.InvalidArgumentError: When run, if an image cannot be decoded; with `TOO_LARGE` in
            its message if it is larger than allowed, which is seen before it is decoded.
    """
    decoder = Decoder(
        settings.channels,
        settings.background_rgb,
        max(settings.height, settings.width),
        bars=settings.fit == "letterbox",
        most_pixels=settings.max_pixels,
    )
    shape = [settings.height, settings.width, settings.channels]
    pixels = decoder.map_batch(
        encoded, lambda image: resize_pixels(image, settings), tf.TensorSpec(shape, tf.float32)
    )
    return tf.ensure_shape(pixels, [None, *shape]) / 255.0


@tf.autograph.experimental.do_not_convert
def map_decoded(
    encoded: tf.Tensor,
    use: Callable[[tf.Tensor], tf.Tensor],
    signature: tf.TensorSpec,
    background: tuple[int, int, int],
) -> tf.Tensor:
    """Decodes a batch of images in their own sizes, one after the other, and uses each.

    Args:
        encoded: Files, string [N].
        use: Pixels, uint8 [h, w, 3], to what the signature says.
        signature: Of the result of one image.
        background: Red, green and blue behind what is transparent.

    Returns:
        The N results.
    """
    return Decoder(3, background, None).map_batch(encoded, use, signature, at_once=1)


@tf.autograph.experimental.do_not_convert
def decode_pixels(
    encoded: tf.Tensor, channels: int = 3, background: tuple[int, int, int] | None = None
) -> tf.Tensor:
    """Decodes one image in its own size: what `decode_images` resizes.

    Args:
        encoded: A file, scalar string.
        channels: 1 for grey, 3 for colour.
        background: Red, green and blue behind what is transparent. Default: that of
            `ImageSettings`.

    Returns:
        uint8 [h, w, channels].

    Raises:
        tf.errors.InvalidArgumentError: When run, if the image cannot be decoded; with `REFUSED` in
            its message if it is of no kind that the graph decodes.
    """
    return Decoder(channels, background or ImageSettings().background_rgb, None).one(encoded)


@tf.autograph.experimental.do_not_convert
def count_channels(encoded: tf.Tensor) -> tf.Tensor:
    """Tells which images are stored as grey (1) and which as colour (3), with alpha or without.

    Args:
        encoded: Files that can be decoded, string [N].

    Returns:
        int32 [N].
    """
    kinds = tell_kinds(encoded)
    is_jpeg = (kinds == Kind.JPEG.value) | (kinds == Kind.PHOTOGRAPH.value)

    def components() -> tf.Tensor:
        return tf.map_fn(
            lambda one: tf.cond(
                one[1], lambda: tf.image.extract_jpeg_shape(one[0])[2], lambda: tf.constant(3)
            ),
            (encoded, is_jpeg),
            fn_output_signature=tf.TensorSpec([], tf.int32),
        )

    stored = tf.cond(tf.reduce_any(is_jpeg), components, lambda: tf.fill(tf.shape(kinds), 3))
    return tf.where((stored == 1) | are_grey_png(encoded), 1, 3)


def decode_to_array(encoded: bytes, background: str = "white") -> np.ndarray | None:
    """Decodes one image in its own size, outside of a graph.

    Args:
        encoded: A file.
        background: The colour behind what is transparent, as in `[image]`.

    Returns:
        uint8 [h, w, 3]; None if the image cannot be decoded.
    """
    settings = ImageSettings(background=background)
    try:
        pixels: np.ndarray = compiled_decoder(settings.background_rgb)(encoded).numpy()
    except tf.errors.OpError:
        return None
    return pixels


@functools.cache
def compiled_decoder(background: tuple[int, int, int]) -> Callable[[bytes], tf.Tensor]:
    """`decode_pixels` to three channels as one graph, since its many eager calls cost far more."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode(encoded: tf.Tensor) -> tf.Tensor:
        return decode_pixels(encoded, 3, background)

    return decode
