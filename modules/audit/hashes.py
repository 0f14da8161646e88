"""The perceptual hash: what hardly changes with an image's size, quality and light.

The picture's cosine transform (DCT-II) has 12 × 12 coarsest coefficients. Without the first, which
is the mean brightness, their signs are 143 bits, as in pHash (Zauner 2010), there of 64 bits. They
hardly change with size, quality, brightness or contrast, but with a shift: by one pixel of 28, a
fifth of them. So small images are hashed again without their outermost pixels, and so moved by one
pixel: of an image and a copy that is shifted by one pixel two of these are the same.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

WORDS = 9  # of 16 bits
SIDE = 32  # pixels of the small picture
# In images larger than this a pixel is too little to change the hash.
SMALL = 128
_LEAST = 8  # pixels: of less nothing is left to compare
_WAVES = 12  # of the cosine transform that count, in either direction
# A coefficient counts as above 0 from here on, in grey levels: rounding never decides.
_ABOVE = 1.0
# Down and right, in pixels. The opposite ways are not needed: if another image is this one moved
# up, then this one is the other moved down.
_WAYS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))
SHIFTED = len(_WAYS)  # hashes


def hash_pictures(pictures: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes pictures, those of at most `SMALL` pixels a side also shifted.

    The bits are dealt out to 9 words in turn, so that each word has coarse and fine waves.

    Args:
        pictures: Grey levels 0 … 255, float32 [B, SMALL, SMALL]. An image of at most `SMALL` pixels
            a side fills the upper left corner, a larger one is made smaller to `SIDE` × `SIDE`
            there.
        sizes: Height and width of the images, int [B, 2].

    Returns:
        - uint16 [B, 9], the hash of each.
        - uint16 [B, 5, 9], hashes without the outermost pixels: as it is, and moved by one pixel to
          the right, down, and down to the right and to the left. All 0 for images that are not of
          8 to 128 pixels a side.
    """
    words = np.zeros((len(pictures), WORDS), np.uint16)
    shifted = np.zeros((len(pictures), SHIFTED, WORDS), np.uint16)
    # An image that could not be decoded has no size.
    fits: np.ndarray = np.all((sizes > 0) & (sizes <= SMALL), axis=1)
    whole = np.where(fits[:, None], sizes, SIDE)
    for height, width in np.unique(whole, axis=0).tolist():
        rows = np.flatnonzero((whole == (height, width)).all(axis=1))
        some = pictures[rows, :height, :width].astype(np.float64)
        words[rows] = _hash(some)
    small: np.ndarray = np.all((sizes >= _LEAST) & (sizes <= SMALL), axis=1)
    for height, width in np.unique(sizes[small], axis=0).tolist():
        rows = np.flatnonzero((sizes == (height, width)).all(axis=1))
        some = pictures[rows, :height, :width].astype(np.float64)
        for place, (down, right) in enumerate(_WAYS):
            inside = some[:, 1 + down : height - 1 + down, 1 + right : width - 1 + right]
            shifted[rows, place] = _hash(inside)
    return words, shifted


def differing_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many bits of perceptual hashes differ: uint16 [N, 9] twice → int64 [N]."""
    return np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)


def _hash(pictures: np.ndarray) -> np.ndarray:
    """Float64 [B, height, width] → uint16 [B, 9]; one bit is always 0."""
    height, width = pictures.shape[1:]
    coefficients = _waves(height) @ pictures @ _waves(width).T
    bits = coefficients.reshape(len(pictures), -1) > _ABOVE
    bits[:, 0] = False
    # Bit number n goes to word n mod 9.
    by_word = np.swapaxes(bits.reshape(len(pictures), 16, WORDS), 1, 2)
    packed = np.packbits(by_word, axis=2, bitorder="little")
    return np.ascontiguousarray(packed).view("<u2")[:, :, 0].astype(np.uint16)


@functools.cache
def _waves(pixels: int) -> np.ndarray:
    """A line of so many pixels → its coarsest waves once it has 32: float64 [12, pixels].

    Resizing and the cosine transform are both linear, so they are one product with a matrix. It is
    the orthonormal DCT-II of TensorFlow's resizing with antialiasing: a photograph and a small copy
    of it come to the same.
    """
    places = (2 * np.arange(SIDE) + 1) * np.pi / (2 * SIDE)
    rows = np.sqrt(2 / SIDE) * np.cos(np.arange(_WAVES)[:, None] * places)
    rows[0] /= np.sqrt(2)
    each = tf.eye(pixels)[tf.newaxis, :, :, tf.newaxis]
    resized = tf.image.resize(each, [SIDE, pixels], antialias=True)[0, :, :, 0]
    return rows @ resized.numpy().astype(np.float64)
