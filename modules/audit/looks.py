"""What an image looks like, in a few numbers: its pixels as a hash, and its coarse structure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.images import map_decoded

WORDS = 9  # of 16 bits
_SIDE = 32  # pixels of the small picture
_WAVES = 12  # of the cosine transform that count, in either direction
# A coefficient counts as above 0 from here on, in grey levels: rounding never decides.
_ABOVE = 1.0
BLANK = 4  # grey levels between the darkest and the lightest pixel of a blank image

Background = tuple[int, int, int]
# Digest, size, small picture and least and greatest value of N images, rows side by side.
_Seen = tuple[np.ndarray, ...]


class Looks(NamedTuple):
    """What B images look like.

    Attributes:
        pixels: uint64 [B, 2], a hash of the decoded pixels, and height and width. Equal for copies,
            however they are encoded.
        words: uint16 [B, 9], the perceptual hash; see `perceptual_hash`.
        blank: bool [B], all pixels of about one brightness.
        decoded: bool [B], whether it could be decoded; where not, the others mean nothing.
    """

    pixels: np.ndarray
    words: np.ndarray
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
    (prints, sizes, small, levels), decoded = _seen(list(images), background)
    shapes = sizes.astype(np.uint64)
    pixels = np.stack(
        [prints.view("<u8")[:, 0], shapes[:, 0] << np.uint64(32) | shapes[:, 1]], axis=1
    )
    return Looks(pixels, perceptual_hash(small), levels[:, 1] - levels[:, 0] <= BLANK, decoded)


def perceptual_hash(small: np.ndarray) -> np.ndarray:
    """Describes small grey pictures by the signs of their coarsest waves.

    The picture's cosine transform (DCT-II) has 12 × 12 coarsest coefficients. Without the first,
    which is the mean brightness, their signs are 143 bits, as in pHash (Zauner 2010), there of 64
    bits. They hardly change with size, quality, brightness or contrast, but with a shift. The bits
    are dealt out to 9 words in turn, so that each word has coarse and fine waves.

    Args:
        small: float [B, 32, 32], grey levels 0 … 255.

    Returns:
        uint16 [B, 9]; one bit is always 0.
    """
    waves = _cosines()
    coefficients = waves @ small.astype(np.float64) @ waves.T
    bits = coefficients.reshape(len(small), -1) > _ABOVE
    bits[:, 0] = False
    # Bit number n goes to word n mod 9.
    by_word = np.swapaxes(bits.reshape(len(small), 16, WORDS), 1, 2)
    packed = np.packbits(by_word, axis=2, bitorder="little")
    return np.ascontiguousarray(packed).view("<u2")[:, :, 0].astype(np.uint16)


def differing_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many bits of perceptual hashes differ: uint16 [N, 9] twice → int64 [N]."""
    return np.bitwise_count(one ^ other).sum(axis=1, dtype=np.int64)


@functools.cache
def _cosines() -> np.ndarray:
    """The first rows of the orthonormal DCT-II, float64 [12, 32]."""
    places = (2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
    rows = np.sqrt(2 / _SIDE) * np.cos(np.arange(_WAVES)[:, None] * places)
    rows[0] /= np.sqrt(2)
    return rows


def _seen(images: list[bytes], background: Background) -> tuple[_Seen, np.ndarray]:
    try:
        tensors = _viewer(background)(tf.constant(images, tf.string))
        return tuple(one.numpy() for one in tensors), np.ones(len(images), bool)
    except tf.errors.OpError:  # does not say which one
        if len(images) == 1:
            nothing = (
                np.zeros((1, 8), np.uint8),
                np.zeros((1, 2), np.int32),
                np.zeros((1, _SIDE, _SIDE), np.float32),
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
        tf.TensorSpec([_SIDE, _SIDE], tf.float32),
        tf.TensorSpec([2], tf.float32),
    )

    def one(pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        bits = tf.raw_ops.Fingerprint(data=tf.reshape(pixels, [1, -1]), method="farmhash64")
        grey = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=-1, keepdims=True)
        # Antialiased, so that a photograph and a small copy of it come to the same.
        small = tf.image.resize(grey, [_SIDE, _SIDE], antialias=True)
        levels = tf.stack([tf.reduce_min(grey), tf.reduce_max(grey)])
        return bits[0], tf.shape(pixels)[:2], small[:, :, 0], levels

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def view(images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        result: tuple[tf.Tensor, ...] = map_decoded(images, one, signature, background)
        return result

    return view
