"""A batch with images that cannot be decoded: the error says which."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from modules.images import Kind, tell_kinds

_NAMED = 20  # of the bad images, so many are named
_END_OF_PNG = b"IEND\xaeB`\x82"
_END_OF_JPEG = b"\xff\xd9"


def decode_or_name(
    decode: Callable[[tf.Tensor], tf.Tensor],
    encoded: tf.Tensor,
    places: tf.Tensor,
) -> tf.Tensor:
    """Decodes a batch; where files are cut or no images, the error names them.

    An operation that fails says why, and not in which row. To try rows one by one takes some tenths
    of a second, whether or not they are good. So only a batch with a file that looks bad is tried
    in this way. A file that is broken in its middle is not named.

    A batch of one image fails as `decode` does, with the reason.

    Args:
        decode: A `tf.function` from string [N] to float32 [N, height, width, channels].
        encoded: Files, string [N].
        places: string [N]: the name of each row in an error.

    Returns:
        What `decode` returns.

    Raises:
        tf.errors.InvalidArgumentError: When run.
    """

    def tried() -> tf.Tensor:
        pixels, done = _try(decode, encoded)
        return tf.cond(done, lambda: pixels, named)

    def named() -> tf.Tensor:
        bad = tf.boolean_mask(places, ~_which_decode(decode, encoded))
        listed = tf.strings.reduce_join(bad[:_NAMED], separator="; ")
        count = tf.strings.as_string(tf.size(bad))
        check = tf.debugging.Assert(
            tf.size(bad) == 0,
            [tf.strings.join([
                count, " of the images cannot be decoded: ", listed,
                ". Send one of them alone to learn why.",
            ])],
        )  # fmt: skip
        with tf.control_dependencies([check]):
            return decode(tf.identity(encoded))  # the cause is no image: let it be seen

    suspect = (tf.size(encoded) > 1) & tf.reduce_any(~_look_whole(encoded))
    return tf.cond(suspect, tried, lambda: decode(encoded))


def _look_whole(images: tf.Tensor) -> tf.Tensor:
    """Which files [N] are images that have an end, as far as that can be told cheaply; bool [N]."""
    kinds = tell_kinds(images)
    length = tf.strings.length(images)
    end = tf.strings.substr(images, tf.maximum(length - 8, 0), tf.fill(tf.shape(length), 8))
    is_jpeg = (kinds == Kind.JPEG.value) | (kinds == Kind.PHOTOGRAPH.value)
    # Something may follow the picture. A small picture in its header has an end too.
    half = tf.strings.substr(tf.where(is_jpeg, images, b""), tf.where(is_jpeg, length // 2, 0),
                             length)  # fmt: skip
    return tf.where(
        kinds == Kind.PNG.value, end == _END_OF_PNG,
        tf.where(is_jpeg, _contain(half, _END_OF_JPEG), kinds != Kind.UNKNOWN.value),
    )  # fmt: skip


def _contain(texts: tf.Tensor, part: bytes) -> tf.Tensor:
    pieces = tf.strings.split(texts, part, maxsplit=1).row_lengths()
    return pieces > 1


def _try(
    decode: Callable[[tf.Tensor], tf.Tensor], encoded: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `decode` returns and True, or nothing and False: a dataset can skip what fails."""
    results = _skip_faults(tf.data.Dataset.from_tensors(encoded).map(decode))
    nothing = tf.zeros([0, *results.element_spec.shape[1:]])
    return results.reduce((nothing, tf.constant(value=False)), lambda _, one: (one, True))


def _which_decode(decode: Callable[[tf.Tensor], tf.Tensor], encoded: tf.Tensor) -> tf.Tensor:
    """Which rows can be decoded alone; bool [N]."""
    rows = tf.range(tf.size(encoded, tf.int64))

    def try_row(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, decode(encoded[row : row + 1])

    good = _skip_faults(tf.data.Dataset.from_tensor_slices(rows).map(try_row))
    return good.reduce(rows < 0, lambda found, one: found | (rows == one[0]))


def _skip_faults(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves out the elements that fail.

    Not for a dataset with threads: when the request is cancelled, these fail without end.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.ignore_errors().with_options(options)
