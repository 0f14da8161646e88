"""What kind of file an image is, by its first bytes; told for a whole batch at once.

The common files are told from those that need a closer look, which costs time. So a batch of
common files is decoded as if there were no others.
"""

from __future__ import annotations

import enum
import math

import tensorflow as tf


class Kind(enum.IntEnum):
    """How a file is decoded."""

    PNG = 0
    JPEG = 1
    PHOTOGRAPH = 2  # a JPEG with EXIF data
    WEBP = 3
    BMP = 4
    GIF = 5
    UNKNOWN = 6


GREY, COLOUR, ANY = r"\x00", r"\x02", r"[\x00\x02]"  # in the header of a PNG
_HEAD = 128  # bytes; enough for some of the chunks below
# From the header of a PNG to its pixels with nothing between that changes them, byte by byte.
# TensorFlow's patterns match UTF-8, but `\C` matches any byte.
_PLAIN_PNG = (
    r"\CPNG\r\n\x1a\n\x00\x00\x00\rIHDR{sides}\C{colour}\C{{7}}"
    r"(?:\x00\x00\x00(?:\x04gAMA\C{{4}}|\x01sRGB\C|\x09pHYs\C{{9}}|\x20cHRM\C{{32}}|\x07tIME\C{{7}})"
    r"\C{{4}})*\C{{4}}IDAT\C*"
)


def tell_kinds(encoded: tf.Tensor) -> tf.Tensor:
    """Tells the `Kind` of each file.

    Args:
        encoded: string [N].

    Returns:
        int32 [N].
    """
    head = tf.strings.substr(encoded, 0, _HEAD)
    is_jpeg = tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(encoded, 0, 8) == b"\x89PNG\r\n\x1a\n"
    tests = {
        Kind.PHOTOGRAPH: is_jpeg & _contains(tf.where(is_jpeg, encoded, b""), b"Exif\0\0"),
        Kind.JPEG: is_jpeg,
        Kind.PNG: is_png,
        Kind.WEBP: _matches(head, r"RIFF\C{4}WEBPVP8[ LX]\C*"),
        Kind.BMP: _matches(head, r"BM\C*"),
        Kind.GIF: _matches(head, r"GIF8[79]a\C*"),
    }
    kinds = tf.fill(tf.shape(encoded), Kind.UNKNOWN.value)
    for kind, is_kind in reversed(tests.items()):  # the first test that holds counts
        kinds = tf.where(is_kind, kind.value, kinds)
    return kinds


def are_plain_png(encoded: tf.Tensor, colour: str, most_pixels: int | None = None) -> tf.Tensor:
    """Whether all files [N] are PNG without alpha, palette and EXIF data; scalar bool.

    It costs next to nothing. `colour` is `GREY`, `COLOUR` or `ANY`. With `most_pixels` a file is
    not plain unless each side is so short that no two of them make more pixels; the others need a
    closer look.
    """
    head = tf.strings.substr(encoded, 0, _HEAD)
    pattern = _PLAIN_PNG.format(colour=colour, sides=_sides(most_pixels))
    return tf.reduce_all(_matches(head, pattern))


def _sides(most_pixels: int | None) -> str:
    """The pattern of width and height, four bytes each, the highest first."""
    if most_pixels is None:
        return r"\C{8}"
    most = math.isqrt(most_pixels) + 1  # a side is shorter than this
    if most <= 256:  # by the last byte; below 1 there is none, as no side has 0 pixels
        side = rf"\x00\x00\x00[\x00-\x{min(most - 1, 127):02x}]"
    else:
        side = rf"\x00\x00[\x00-\x{min(most // 256 - 1, 127):02x}]\C"
    return side * 2


def are_grey_png(encoded: tf.Tensor) -> tf.Tensor:
    """Which files [N] are PNG stored as grey, with alpha or without; bool [N]."""
    head = tf.strings.substr(encoded, 0, _HEAD)
    return _matches(head, r"\CPNG\r\n\x1a\n\C{4}IHDR\C{9}[\x00\x04]\C*")


def _matches(texts: tf.Tensor, pattern: str) -> tf.Tensor:
    return tf.strings.regex_full_match(texts, pattern)


def _contains(texts: tf.Tensor, part: bytes) -> tf.Tensor:
    """Whether each text has the part in it; several times faster than a pattern."""
    split = tf.raw_ops.StringSplitV2(input=texts, sep=part, maxsplit=1)
    pieces = tf.math.unsorted_segment_sum(
        tf.ones_like(split.indices[:, 0]), split.indices[:, 0], tf.size(texts)
    )
    return pieces > 1
