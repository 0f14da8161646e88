"""How large an image says it is, read in its header inside the graph before anything is decoded.

A file of a few kilobytes may declare more pixels than a server has memory for.
"""

from __future__ import annotations

import tensorflow as tf

from modules.images.orientation import FileBytes

TOO_LARGE = "declares more pixels than allowed"

# Width and height, int64.
Size = tuple[tf.Tensor, tf.Tensor]


def size_of_png(file: FileBytes) -> Size:
    """Of the chunk IHDR."""
    return file.number(16, 4, little=False), file.number(20, 4, little=False)


def size_of_jpeg(encoded: tf.Tensor) -> Size:
    """Of the frame header, a scalar string; libjpeg looks for it."""
    height, width, _ = tf.unstack(tf.cast(tf.image.extract_jpeg_shape(encoded), tf.int64), num=3)
    return width, height


def size_of_webp(file: FileBytes) -> Size:
    """Of the first chunk: `VP8X` (extended), `VP8L` (without loss) or `VP8 `.

    Other chunks must have the size that the first one says: libwebp decodes nothing else.
    """
    extended, lossless = file.says(12, b"VP8X"), file.says(12, b"VP8L")
    packed = file.number(21, 4, little=True)  # 14 bits each, less one
    sizes = [
        tf.where(
            extended,
            file.number(24 + 3 * axis, 3, little=True) + 1,
            tf.where(
                lossless,
                tf.bitwise.right_shift(packed, 14 * axis) % 2**14 + 1,
                file.number(26 + 2 * axis, 2, little=True) % 2**14,
            ),
        )
        for axis in range(2)
    ]
    return sizes[0], sizes[1]


def size_of_bmp(file: FileBytes) -> Size:
    """Of the headers of 40 bytes and more; a height below 0 means that rows go downwards."""
    sides = (file.number(start, 4, little=True) for start in (18, 22))
    width, height = (tf.where(side < 2**31, side, 2**32 - side) for side in sides)
    return width, height


def size_of_gif(file: FileBytes) -> Size:
    """Of the screen, which the first frame fills (see `gif_is_opaque`)."""
    return file.number(6, 2, little=True), file.number(8, 2, little=True)


def refuse_larger(encoded: tf.Tensor, size: Size, most_pixels: int | None) -> tf.Tensor:
    """Hands on a file, a scalar string, unless it is larger; then it is an error when run."""
    if most_pixels is None:
        return encoded
    width, height = size
    check = tf.debugging.Assert(
        # Not a product, which might not fit into 64 bits.
        width <= most_pixels // tf.maximum(height, 1),
        [
            f"{TOO_LARGE}: more than {most_pixels:,} (width, height):", width, height,
            "Scale it down, or raise [data] max_pixels and make the model anew.",
        ],
    )  # fmt: skip
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(encoded)
