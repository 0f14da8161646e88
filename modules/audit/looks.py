"""What an image looks like, in a few numbers: its pixels as a hash, and its coarse structure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.audit.hashes import SIDE, SMALL, hash_pictures
from modules.images import map_decoded

BLANK = 4  # grey levels between the darkest and the lightest pixel of a blank image

Background = tuple[int, int, int]
# Digest, size, picture and least and greatest value of N images, rows side by side.
_Seen = tuple[np.ndarray, ...]


class Looks(NamedTuple):
    """What B images look like.

    Attributes:
        pixels: uint64 [B, 2], a hash of the decoded pixels, and height and width. Equal for copies,
            however they are encoded.
        words: uint16 [B, 9], the perceptual hash; see `hash_pictures`.
        shifted: uint16 [B, 5, 9], those of a small image that is shifted; likewise.
        blank: bool [B], all pixels of about one brightness.
        decoded: bool [B], whether it could be decoded; where not, the others mean nothing.
    """

    pixels: np.ndarray
    words: np.ndarray
    shifted: np.ndarray
    blank: np.ndarray
    decoded: np.ndarray


def look_at(images: Sequence[bytes], background: Background = (255, 255, 255)) -> Looks:
    """Decodes images as every node does, each once.

    Args:
        images: B encoded images, at least one.
        background: Red, green and blue behind what is transparent.

    Returns:
        The same for an image, whatever it is together with.
    """
    (prints, sizes, pictures, levels), decoded = _seen(list(images), background)
    shapes = sizes.astype(np.uint64)
    pixels = np.stack(
        [prints.view("<u8")[:, 0], shapes[:, 0] << np.uint64(32) | shapes[:, 1]], axis=1
    )
    words, shifted = hash_pictures(pictures, sizes)
    return Looks(pixels, words, shifted, levels[:, 1] - levels[:, 0] <= BLANK, decoded)


def _seen(images: list[bytes], background: Background) -> tuple[_Seen, np.ndarray]:
    try:
        tensors = _viewer(background)(tf.constant(images, tf.string))
        return tuple(one.numpy() for one in tensors), np.ones(len(images), bool)
    except tf.errors.OpError:  # does not say which one
        if len(images) == 1:
            nothing = (
                np.zeros((1, 8), np.uint8),
                np.zeros((1, 2), np.int32),
                np.zeros((1, SMALL, SMALL), np.float32),
                np.zeros((1, 2), np.float32),
            )
            return nothing, np.zeros(1, bool)
    half = len(images) // 2
    parts = [_seen(some, background) for some in (images[:half], images[half:])]
    columns = zip(*(seen for seen, _ in parts), strict=True)
    seen = tuple(np.concatenate(column) for column in columns)
    return seen, np.concatenate([decoded for _, decoded in parts])


@functools.cache
def _viewer(background: Background) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """One graph for a batch, as eager calls cost far more."""
    signature = (
        tf.TensorSpec([8], tf.uint8),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([SMALL, SMALL], tf.float32),
        tf.TensorSpec([2], tf.float32),
    )

    def one(pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        bits = tf.raw_ops.Fingerprint(data=tf.reshape(pixels, [1, -1]), method="farmhash64")
        grey = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=-1, keepdims=True)
        size = tf.shape(pixels)[:2]
        # Small images are resized later, all at once.
        picture = tf.cond(
            tf.reduce_all(size <= SMALL),
            lambda: grey,
            lambda: tf.image.resize(grey, [SIDE, SIDE], antialias=True),
        )[:, :, 0]
        rest = SMALL - tf.shape(picture)
        levels = tf.stack([tf.reduce_min(grey), tf.reduce_max(grey)])
        filled = tf.ensure_shape(tf.pad(picture, [[0, rest[0]], [0, rest[1]]]), [SMALL, SMALL])
        return bits[0], size, filled, levels

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def view(images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        result: tuple[tf.Tensor, ...] = map_decoded(images, one, signature, background)
        return result

    return view
