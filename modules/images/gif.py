"""Whether the first frame of a GIF is all that is seen of it."""

from __future__ import annotations

import tensorflow as tf

from modules.images.orientation import FileBytes

_HEADER = 13  # bytes


def gif_is_opaque(file: FileBytes) -> tf.Tensor:
    """Whether the first frame fills the GIF and has no transparent colour; scalar bool.

    TensorFlow paints black where a frame shows nothing, and other programs do not.
    """
    flags = file.at(10, 1)[0]
    palette = tf.where(
        flags >= 128, 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8), 0
    )

    def goes_on(at: tf.Tensor, inside: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        del transparent
        return (at < file.size) & (inside | file.says(at, b"!"))

    def read(
        at: tf.Tensor, inside: tf.Tensor, transparent: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # An extension is `!`, a label and blocks: a length and as many bytes, until one is of 0.
        length = file.at(at, 1)[0]
        control = ~inside & file.says(at, b"!\xf9") & (file.at(at + 3, 1)[0] % 2 == 1)
        return (
            tf.where(inside, at + 1 + length, at + 2),
            ~inside | (length > 0),
            transparent | control,
        )

    start = (_HEADER + palette, tf.constant(value=False), tf.constant(value=False))
    at, _, transparent = tf.while_loop(goes_on, read, start)
    fills = file.says(at, b",\0\0\0\0") & tf.reduce_all(file.at(at + 5, 4) == file.at(6, 4))
    return fills & ~transparent
