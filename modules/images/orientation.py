"""How a photograph is to be turned, read from its EXIF data inside the graph.

A camera stores the pixels as its sensor lies and notes in the tag *orientation* (274, of Exif 2.3)
how to turn them for a person. The tag is looked for in the APP1 segment of a JPEG, in the chunk
eXIf of a PNG before its pixels, and in the chunk EXIF of a WebP.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

_PADDING = 16  # zeros behind the file, so that a number may be read anywhere in it
_TAG, _SHORT = 274, 3  # the tag, and the type of its value
_ENTRY = 12  # bytes of an entry of a TIFF directory


class FileBytes(NamedTuple):
    """The bytes of a file as numbers that the graph can compute with."""

    values: tf.Tensor  # uint8 [size + padding]
    size: tf.Tensor  # int64

    @classmethod
    def of(cls, encoded: tf.Tensor) -> FileBytes:
        """Of a whole file, a scalar string."""
        raw = tf.io.decode_raw(encoded, tf.uint8)
        return cls(tf.pad(raw, [[0, _PADDING]]), tf.size(raw, tf.int64))

    def at(self, start: tf.Tensor | int, count: int) -> tf.Tensor:
        """`count` bytes, at most 16, int64; past the end they are 0."""
        start = tf.clip_by_value(tf.cast(start, tf.int64), 0, self.size)
        return tf.cast(tf.slice(self.values, [start], [count]), tf.int64)

    def number(self, start: tf.Tensor | int, count: int, little: tf.Tensor | bool) -> tf.Tensor:
        """An unsigned number of `count` bytes, int64, little endian or big."""
        digits = self.at(start, count)
        digits = tf.where(little, tf.reverse(digits, [0]), digits)
        return tf.reduce_sum(digits * [256**power for power in reversed(range(count))])

    def says(self, start: tf.Tensor | int, text: bytes) -> tf.Tensor:
        """Whether these bytes stand there, bool."""
        start = tf.clip_by_value(tf.cast(start, tf.int64), 0, self.size)
        return tf.reduce_all(tf.slice(self.values, [start], [len(text)]) == list(text))


def find_in_jpeg(file: FileBytes) -> tf.Tensor:
    """Where the EXIF data of a JPEG begin, in its first Exif segment; int64, 0 if it has none."""

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return file.says(at, b"\xff\xe1") & file.says(at + 4, b"Exif\0\0")

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        # Up to the scan, behind which the pixels are.
        segment = file.says(at, b"\xff") & ~file.says(at, b"\xff\xda")
        return (at < file.size) & segment & ~is_exif(at)

    def skip(at: tf.Tensor) -> tuple[tf.Tensor]:
        filler = file.says(at, b"\xff\xff")  # a marker may begin with any number of these
        length = tf.maximum(file.number(at + 2, 2, little=False), 2)
        return (tf.where(filler, at + 1, at + 2 + length),)

    (found,) = tf.while_loop(goes_on, skip, (tf.constant(2, tf.int64),))
    return tf.where(is_exif(found), found + 10, 0)


def find_in_png(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor]:
    """What is before the pixels of a PNG.

    Returns:
        Where its EXIF data begin, int64, 0 if it has none; and if it has a chunk tRNS, bool.
    """

    def goes_on(at: tf.Tensor, exif: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        del exif, transparent
        return (at < file.size) & ~file.says(at + 4, b"IDAT")

    def read(
        at: tf.Tensor, exif: tf.Tensor, transparent: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return (
            at + 12 + file.number(at, 4, little=False),
            tf.where((exif == 0) & file.says(at + 4, b"eXIf"), at + 8, exif),
            transparent | file.says(at + 4, b"tRNS"),
        )

    start = (tf.constant(8, tf.int64), tf.constant(0, tf.int64), tf.constant(value=False))
    _, exif, transparent = tf.while_loop(goes_on, read, start)
    return exif, transparent


def find_in_webp(file: FileBytes) -> tf.Tensor:
    """Where the EXIF data of a WebP begin; int64, 0 if it has none."""

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        return (at < file.size) & ~file.says(at, b"EXIF")

    def skip(at: tf.Tensor) -> tuple[tf.Tensor]:
        length = file.number(at + 4, 4, little=True)
        return (at + 8 + length + length % 2,)

    (found,) = tf.while_loop(goes_on, skip, (tf.constant(12, tf.int64),))
    # Some programs write the beginning of a JPEG's segment too.
    start = found + tf.where(file.says(found + 8, b"Exif\0\0"), tf.constant(14, tf.int64), 8)
    return tf.where(found < file.size, start, 0)


def read_orientation(file: FileBytes, start: tf.Tensor) -> tf.Tensor:
    """The tag in EXIF data, which are a TIFF file: in its first directory.

    Args:
        file: The whole file.
        start: Where in it the data begin, int64.

    Returns:
        1…8, int64; 1 (upright) if there is no such tag or it is no such number.
    """
    little = file.says(start, b"II*\0")
    directory = tf.minimum(start + file.number(start + 4, 4, little), file.size)
    count = tf.minimum(
        file.number(directory, 2, little), tf.maximum(file.size - directory - 2, 0) // _ENTRY
    )
    entries = tf.slice(file.values, [tf.minimum(directory + 2, file.size)], [count * _ENTRY])
    entries = tf.cast(tf.reshape(entries, [-1, _ENTRY]), tf.int64)
    numbers = tf.where(
        little, entries[:, 0::2] + 256 * entries[:, 1::2], 256 * entries[:, 0::2] + entries[:, 1::2]
    )
    wanted = (numbers[:, 0] == _TAG) & (numbers[:, 1] == _SHORT)
    # The first one; a zero behind them stands for none.
    value = tf.concat([tf.boolean_mask(numbers[:, 4], wanted), tf.zeros([1], tf.int64)], 0)[0]
    valid = (little | file.says(start, b"MM\0*")) & (value >= 1) & (value <= 8)
    return tf.where(valid, value, 1)


def turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors pixels [h, w, C] as the tag (1…8) says."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    axes = (_is_one_of(orientation, (3, 4, 7, 8)), _is_one_of(orientation, (2, 3, 6, 7)))
    for axis, mirrored in enumerate(axes):
        pixels = tf.cond(
            mirrored,
            lambda turned=pixels, axis=axis: tf.reverse(turned, [axis]),
            lambda turned=pixels: turned,
        )
    return pixels


def _is_one_of(value: tf.Tensor, numbers: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(value == tf.constant(numbers, tf.int64))
