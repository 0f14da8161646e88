"""Encoded images to pixels: the one function with which every node and the served model sees.

`docs/images.md` says what becomes of each kind of file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.images.colours import composite, to_grey
from modules.images.fit import resize_pixels
from modules.images.gif import gif_is_opaque
from modules.images.kinds import Kind, are_grey_png, common_kind, tell_kinds
from modules.images.orientation import (
    FileBytes,
    jpeg_orientation,
    png_chunks,
    turn_upright,
    webp_orientation,
)
from modules.settings import ImageSettings

REFUSED = "not an image that a served model can decode"
_RATIOS = (1, 2, 4, 8)  # by which libjpeg makes an image smaller while it decodes


def decode_images(encoded: tf.Tensor, settings: ImageSettings) -> tf.Tensor:
    """Decodes and resizes a batch of images, turned upright and without transparency.

    A JPEG at least twice as large as needed is made smaller by 2, 4 or 8 while it is decoded (by
    the inverse DCT of libjpeg), which is faster; the rest is resized as any other image.

    Args:
        encoded: Files, string [N]: JPEG, PNG, WebP without animation, BMP of 24 or 32 bits, GIF
            without transparency (its first frame).
        settings: The size to deliver, and the colour behind transparent images.

    Returns:
        Pixels in 0…1, float32 [N, height, width, channels].

    Raises:
        tf.errors.InvalidArgumentError: When run, if an image cannot be decoded.
    """
    decoder = _Decoder(
        settings.channels, settings.background_rgb, max(settings.height, settings.width)
    )
    shape = [settings.height, settings.width, settings.channels]
    spec = tf.TensorSpec(shape, tf.float32)

    def decode_all_by(decode: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[], tf.Tensor]:
        return lambda: tf.map_fn(
            lambda image: resize_pixels(decode(image), settings), encoded, fn_output_signature=spec
        )

    def decode_others() -> tf.Tensor:
        kinds = tell_kinds(encoded)

        def decode_mixed() -> tf.Tensor:
            return tf.map_fn(
                lambda one: resize_pixels(decoder.decode(*one), settings),
                (encoded, kinds),
                fn_output_signature=spec,
            )

        common = (decoder.grey_png, decoder.colour_png, decoder.alpha_png, decoder.jpeg)
        branches = [*(decode_all_by(decode) for decode in common), decode_mixed]
        return tf.switch_case(common_kind(kinds), branches)

    # Small grey images are decoded so fast that telling all kinds would count.
    pixels = tf.cond(are_grey_png(encoded), decode_all_by(decoder.grey_png), decode_others)
    return tf.ensure_shape(pixels, [None, *shape]) / 255.0


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
    decoder = _Decoder(channels, background or ImageSettings().background_rgb, None)
    return decoder.decode(encoded, tell_kinds(encoded[tf.newaxis])[0])


def count_channels(encoded: tf.Tensor) -> tf.Tensor:
    """Tells if an image is stored as grey (1) or as colour (3), with alpha or without.

    Args:
        encoded: A file that `decode_pixels` decodes, scalar string.

    Returns:
        int32.
    """
    kind = tell_kinds(encoded[tf.newaxis])[0]
    is_jpeg = (kind == Kind.JPEG.value) | (kind == Kind.PHOTOGRAPH.value)
    is_png = (kind == Kind.GREY_PNG.value) | (kind == Kind.ALPHA_PNG.value)
    is_png |= kind == Kind.PNG.value
    is_grey = tf.cond(
        is_jpeg,
        lambda: tf.image.extract_jpeg_shape(encoded)[2] == 1,
        # The type of colour is 0 for grey, 4 for grey with alpha.
        lambda: is_png & (FileBytes.of(encoded).at(25, 1)[0] % 4 == 0),
    )
    return tf.where(is_grey, 1, 3)


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


class _Decoder(NamedTuple):
    """A method for each kind of file: scalar string to uint8 [h, w, channels]."""

    channels: int
    background: tuple[int, int, int]
    needed: int | None  # no side may become shorter than this, in pixels; None: as in the file

    def decode(self, encoded: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
        """Decodes a file of any `Kind`."""
        branches = {
            Kind.GREY_PNG: self.grey_png,
            Kind.COLOUR_PNG: self.colour_png,
            Kind.ALPHA_PNG: self.alpha_png,
            Kind.JPEG: self.jpeg,
            Kind.PHOTOGRAPH: self.photograph,
            Kind.PNG: self.any_png,
            Kind.WEBP: self.webp,
            Kind.BMP: self.bmp,
            Kind.GIF: self.gif,
            Kind.UNKNOWN: self.unknown,
        }
        pixels = tf.switch_case(
            kind, {key.value: lambda branch=b: branch(encoded) for key, b in branches.items()}
        )
        return tf.ensure_shape(pixels, [None, None, self.channels])

    def grey_png(self, encoded: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_png(encoded, channels=self.channels)

    def colour_png(self, encoded: tf.Tensor) -> tf.Tensor:
        # TensorFlow would take the grey of linear light where the file names a gamma.
        return self._from_colour(tf.io.decode_png(encoded, channels=3))

    def alpha_png(self, encoded: tf.Tensor) -> tf.Tensor:
        colours = composite(tf.io.decode_png(encoded, channels=4), self.background)
        return self._from_colour(colours)

    def jpeg(self, encoded: tf.Tensor) -> tf.Tensor:
        height, width, components = tf.unstack(tf.image.extract_jpeg_shape(encoded), num=3)
        grey = self.channels == 1

        def decode(ratio: int, *, cmyk: bool) -> tf.Tensor:
            if grey and cmyk:  # not even with an error would libjpeg make this grey
                return to_grey(tf.io.decode_jpeg(encoded, channels=3, ratio=ratio))
            return tf.io.decode_jpeg(encoded, channels=self.channels, ratio=ratio)

        index = tf.constant(0)
        ratios = _RATIOS if self.needed else _RATIOS[:1]
        for ratio in ratios[1:]:
            index += tf.cast(tf.minimum(height, width) >= ratio * (self.needed or 1), tf.int32)
        if grey:
            index += len(ratios) * tf.cast(components == 4, tf.int32)
        branches = [
            lambda ratio=ratio, cmyk=cmyk: decode(ratio, cmyk=cmyk)
            for cmyk in ((False, True) if grey else (False,))
            for ratio in ratios
        ]
        return tf.switch_case(index, branches) if len(branches) > 1 else branches[0]()

    def photograph(self, encoded: tf.Tensor) -> tf.Tensor:
        return turn_upright(self.jpeg(encoded), jpeg_orientation(FileBytes.of(encoded)))

    def any_png(self, encoded: tf.Tensor) -> tf.Tensor:
        file = FileBytes.of(encoded)
        orientation, transparent = png_chunks(file)
        # Only where there is alpha: TensorFlow fills it in wrongly for fewer than 8 bits.
        alpha = transparent | (file.at(25, 1)[0] >= 4)
        pixels = tf.cond(
            alpha,
            lambda: self.alpha_png(encoded),
            lambda: self.colour_png(encoded),
        )
        return turn_upright(pixels, orientation)

    def webp(self, encoded: tf.Tensor) -> tf.Tensor:
        file = FileBytes.of(encoded)
        # TensorFlow writes the frames of an animation past the end of its memory.
        moves = file.says(12, b"VP8X") & (file.at(20, 1)[0] // 2 % 2 == 1)
        pixels = _decode_if(~moves, encoded, 0, "an animated WebP")
        pixels = tf.cond(
            tf.shape(pixels)[2] == 4,
            lambda: self._from_colour(composite(pixels, self.background)),
            lambda: self._from_colour(pixels[:, :, :3]),
        )
        return turn_upright(pixels, webp_orientation(file))

    def bmp(self, encoded: tf.Tensor) -> tf.Tensor:
        file = FileBytes.of(encoded)
        header, bits = file.number(14, 4, little=True), file.number(28, 2, little=True)
        plain = (header >= 40) & (file.number(30, 4, little=True) == 0)
        plain &= (bits == 24) | (bits == 32)
        kind = "a BMP with a palette, compressed or of an old form"
        return self._from_colour(_decode_if(plain, encoded, 3, kind))

    def gif(self, encoded: tf.Tensor) -> tf.Tensor:
        kind = "a GIF with transparency or a first frame that does not fill it"
        return self._from_colour(_decode_if(gif_is_opaque(FileBytes.of(encoded)), encoded, 3, kind))

    def unknown(self, encoded: tf.Tensor) -> tf.Tensor:
        no = tf.constant(value=False)
        return self._from_colour(_decode_if(no, encoded, 3, "neither JPEG, PNG, WebP, BMP nor GIF"))

    def _from_colour(self, pixels: tf.Tensor) -> tf.Tensor:
        pixels = tf.ensure_shape(pixels, [None, None, 3])
        return to_grey(pixels) if self.channels == 1 else pixels


def _decode_if(allowed: tf.Tensor, encoded: tf.Tensor, channels: int, kind: str) -> tf.Tensor:
    """Decodes what is allowed; anything else never comes near the decoder."""
    check = tf.debugging.Assert(allowed, [f"{REFUSED}: {kind}. Convert it to PNG."])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.raw_ops.DecodeImage(
            contents=tf.identity(encoded), channels=channels, expand_animations=False
        )
