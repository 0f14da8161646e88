"""Keys: a neighbour of a query as one integer, int64, whose order is that of (distance, id).

Above are the bits of the squared distance, a float32 that is never negative, so bits ascend as
distances do; below them the position in the gallery, which ascends as ids do; and last one bit that
tells whether the row has the query's class.
"""

from __future__ import annotations

import numpy as np

BEHIND = np.int32(0x7FFFFFFF)  # bits behind every distance, NaN included: no neighbour
INFINITY = 0x7F800000  # bits above are NaN
NOTHING = np.iinfo(np.int64).max  # the key of no neighbour


def pack(bits: np.ndarray, positions: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Makes keys.

    Args:
        bits: int32, of distances.
        positions: int64 that broadcasts.
        hits: bool of the shape of `bits`.
    """
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= positions << 1
    keys |= hits
    return keys


def unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes keys apart.

    Args:
        keys: int64, any shape.

    Returns:
        Of the same shape: positions int64, −1 for no neighbour; squared distances float32, NaN for
        no neighbour.
    """
    bits = (keys >> 32).astype(np.int32)
    positions = np.where(bits == BEHIND, -1, (keys & 0xFFFFFFFF) >> 1)
    return positions, bits.view(np.float32)


def unpack_hits(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes out of keys what scores ask for.

    Args:
        keys: int64, any shape.

    Returns:
        Of the same shape: the bits of the distances, int32, ascending as these do; hits bool,
        whether it is a neighbour of the query's class at a distance that is not NaN.
    """
    bits = (keys >> 32).astype(np.int32)
    return bits, (keys & 1).astype(bool) & (bits <= INFINITY)
