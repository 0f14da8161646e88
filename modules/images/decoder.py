"""A way to decode each kind of file, each built of operations of the graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from modules.images.branches import run_branch
from modules.images.colours import composite, to_grey
from modules.images.gif import find_first_frame
from modules.images.header import (
    refuse_larger,
    size_of_bmp,
    size_of_gif,
    size_of_jpeg,
    size_of_png,
    size_of_webp,
)
from modules.images.kinds import ANY, GREY, Kind, are_plain_png, tell_kinds
from modules.images.orientation import (
    FileBytes,
    find_in_jpeg,
    find_in_png,
    find_in_webp,
    read_orientation,
    turn_upright,
)

REFUSED = "not an image that a served model can decode"
_RATIOS = (1, 2, 4, 8)  # by which libjpeg makes an image smaller while it decodes

# Pixels as stored, uint8 [h, w, channels], and where in the file its EXIF data begin.
_Found = tuple[tf.Tensor, tf.Tensor]


class Decoder(NamedTuple):
    """A method for each kind of file, from a scalar string."""

    channels: int
    background: tuple[int, int, int]
    # The short side may not become shorter than so many pixels, or the long one, if bars fill the
    # rest; None: as in the file.
    needed: int | None
    bars: bool = False
    # A file that declares more, width × height, is refused before it is decoded; None: no limit.
    most_pixels: int | None = None

    def map_batch(
        self,
        encoded: tf.Tensor,
        use: Callable[[tf.Tensor], tf.Tensor],
        signature: tf.TensorSpec,
        at_once: int | None = None,
    ) -> tf.Tensor:
        """Decodes all of a batch [N], and makes something of the pixels of each."""

        def all_by(decode: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[], tf.Tensor]:
            return lambda: tf.map_fn(
                lambda image: use(decode(image)),
                encoded,
                parallel_iterations=at_once,
                fn_output_signature=signature,
            )

        def others() -> tf.Tensor:
            return tf.map_fn(
                lambda one: use(self._called(*one)),
                (encoded, tell_kinds(encoded)),
                parallel_iterations=at_once,
                fn_output_signature=signature,
            )

        return tf.cond(self._are_plain(encoded), all_by(self._plain_png), others)

    def one(self, encoded: tf.Tensor) -> tf.Tensor:
        """Decodes a scalar string."""
        batch = encoded[tf.newaxis]
        return tf.cond(
            self._are_plain(batch),
            lambda: self._plain_png(encoded),
            lambda: self._called(encoded, tell_kinds(batch)[0]),
        )

    def _are_plain(self, encoded: tf.Tensor) -> tf.Tensor:
        """Small images are decoded so fast that a test of each kind would count."""
        return are_plain_png(encoded, ANY if self.channels == 3 else GREY, self.most_pixels)

    def _called(self, encoded: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(_out_of_line(self)(encoded, kind), [None, None, self.channels])

    def decode(self, encoded: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
        """Decodes a file of any `Kind`."""
        file = FileBytes.of(encoded)
        methods = {
            Kind.PNG: self._png,
            Kind.JPEG: self._jpeg,
            Kind.PHOTOGRAPH: self._photograph,
            Kind.WEBP: self._webp,
            Kind.BMP: self._bmp,
            Kind.GIF: self._gif,
            Kind.UNKNOWN: self._unknown,
        }
        branches = [methods[key] for key in sorted(methods)]
        pixels, exif = run_branch(
            kind, [functools.partial(branch, encoded, file) for branch in branches]
        )
        pixels = tf.ensure_shape(pixels, [None, None, self.channels])
        return tf.cond(
            exif > 0, lambda: turn_upright(pixels, read_orientation(file, exif)), lambda: pixels
        )

    def _plain_png(self, encoded: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_png(encoded, channels=self.channels)

    def _colour_png(self, encoded: tf.Tensor) -> tf.Tensor:
        # Not grey by TensorFlow, which takes that of linear light where the file names a gamma.
        return self._from_colour(tf.io.decode_png(encoded, channels=3))

    def _any_jpeg(self, encoded: tf.Tensor) -> tf.Tensor:
        encoded = refuse_larger(encoded, size_of_jpeg(encoded), self.most_pixels)
        height, width, components = tf.unstack(tf.image.extract_jpeg_shape(encoded), num=3)
        ratios = _RATIOS if self.needed else _RATIOS[:1]
        side = (tf.maximum if self.bars else tf.minimum)(height, width)
        index = tf.constant(0)
        for ratio in ratios[1:]:
            index += tf.cast(side >= ratio * (self.needed or 1), tf.int32)

        branches = [
            functools.partial(tf.io.decode_jpeg, encoded, self.channels, ratio) for ratio in ratios
        ]
        if self.channels == 3:
            return run_branch(index, branches)
        # libjpeg makes no grey of CMYK.
        return tf.cond(
            components == 4,
            lambda: to_grey(tf.io.decode_jpeg(encoded, channels=3)),
            lambda: run_branch(index, branches),
        )

    def _jpeg(self, encoded: tf.Tensor, _: FileBytes) -> _Found:
        return self._any_jpeg(encoded), _no_exif()

    def _photograph(self, encoded: tf.Tensor, file: FileBytes) -> _Found:
        return self._any_jpeg(encoded), find_in_jpeg(file)

    def _png(self, encoded: tf.Tensor, file: FileBytes) -> _Found:
        encoded = refuse_larger(encoded, size_of_png(file), self.most_pixels)
        exif, transparent = find_in_png(file)
        pixels = tf.cond(
            # Only where there is alpha: TensorFlow fills it in wrongly for fewer than 8 bits.
            transparent | (file.at(25, 1)[0] >= 4),
            lambda: self._from_colour(
                composite(tf.io.decode_png(encoded, channels=4), self.background)
            ),
            lambda: self._colour_png(encoded),
        )
        return pixels, exif

    def _webp(self, encoded: tf.Tensor, file: FileBytes) -> _Found:
        # TensorFlow writes the frames of an animation past the end of its memory.
        encoded = refuse_larger(encoded, size_of_webp(file), self.most_pixels)
        moves = file.says(12, b"VP8X") & (file.at(20, 1)[0] // 2 % 2 == 1)
        pixels = _decode_if(~moves, encoded, 0, "an animated WebP")
        pixels = tf.cond(
            tf.shape(pixels)[2] == 4,
            lambda: composite(pixels, self.background),
            lambda: pixels[:, :, :3],
        )
        return self._from_colour(pixels), find_in_webp(file)

    def _bmp(self, encoded: tf.Tensor, file: FileBytes) -> _Found:
        encoded = refuse_larger(encoded, size_of_bmp(file), self.most_pixels)
        header, bits = file.number(14, 4, little=True), file.number(28, 2, little=True)
        plain = (header >= 40) & (file.number(30, 4, little=True) == 0)
        plain &= (bits == 24) | (bits == 32)
        kind = "a BMP with a palette, compressed or of an old form"
        return self._from_colour(_decode_if(plain, encoded, 3, kind)), _no_exif()

    def _gif(self, encoded: tf.Tensor, file: FileBytes) -> _Found:
        encoded = refuse_larger(encoded, size_of_gif(file), self.most_pixels)
        kind = "a GIF with transparency or a first frame that does not fill it"
        opaque, end = find_first_frame(file)
        # Without the frames behind it: TensorFlow would unpack all, of any size.
        first = tf.strings.substr(encoded, tf.zeros_like(end), end) + b";"
        pixels = _decode_if(opaque, first, 3, kind)
        return self._from_colour(pixels), _no_exif()

    def _unknown(self, encoded: tf.Tensor, _: FileBytes) -> _Found:
        no = tf.constant(value=False)
        pixels = _decode_if(no, encoded, 3, "neither JPEG, PNG, WebP, BMP nor GIF")
        return self._from_colour(pixels), _no_exif()

    def _from_colour(self, pixels: tf.Tensor) -> tf.Tensor:
        pixels = tf.ensure_shape(pixels, [None, None, 3])
        return to_grey(pixels) if self.channels == 1 else pixels


@functools.cache
def _out_of_line(decoder: Decoder) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """`Decoder.decode` as a function that a graph calls, and that is built once in a process.

    It is large. Written out wherever images are decoded, it would cost each node seconds to trace
    and to start; as a function that is not inlined it costs nothing until it is called.
    """
    decode = tf.function(
        tf.autograph.experimental.do_not_convert(decoder.decode),
        input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    with tf.init_scope():  # not a part of the graph that happens to ask first
        return decode.get_concrete_function()


def _no_exif() -> tf.Tensor:
    return tf.constant(0, tf.int64)


def _decode_if(allowed: tf.Tensor, encoded: tf.Tensor, channels: int, kind: str) -> tf.Tensor:
    """Decodes what is allowed; anything else never comes near the decoder."""
    check = tf.debugging.Assert(allowed, [f"{REFUSED}: {kind}. Convert it to PNG."])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.raw_ops.DecodeImage(
            contents=tf.identity(encoded), channels=channels, expand_animations=False
        )
