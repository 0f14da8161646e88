"""The first frame of a GIF: where it ends, and whether it is all that is seen."""

from __future__ import annotations

import tensorflow as tf

from modules.images.orientation import FileBytes

_HEADER, _FRAME = 13, 10  # bytes, without palettes


def find_first_frame(file: FileBytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks at a GIF up to the end of its first frame.

    Returns:
        Whether this frame fills the GIF and has no transparent colour, bool: TensorFlow paints
        black where a frame shows nothing, and other programs do not. And where in the file it
        ends, int64.
    """
    palette = _palette_bytes(file.at(10, 1)[0])

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
    # A frame is `,`, place and size, flags, a palette, a number, and blocks.
    blocks = at + _FRAME + _palette_bytes(file.at(at + _FRAME - 1, 1)[0]) + 1
    (last,) = tf.while_loop(
        lambda at: (at < file.size) & (file.at(at, 1)[0] > 0),
        lambda at: (at + 1 + file.at(at, 1)[0],),
        (blocks,),
    )
    return fills & ~transparent, tf.minimum(last + 1, file.size)


def _palette_bytes(flags: tf.Tensor) -> tf.Tensor:
    size = 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8)
    return tf.where(flags >= 128, size, 0)
