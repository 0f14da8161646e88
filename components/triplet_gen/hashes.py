"""Hashes of ids and labels: the only source of chance, the same on every platform."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# Columns of `hash_ids`: the order within a bucket; the group within a class; the rank within a
# class, of which the first are held out for validation and the last are anchors.
ORDER, GROUP, RANK = range(3)


def derive_key(seed: int, *parts: object) -> bytes:
    """Derives an independent 16-byte key from the seed and what it is for.

    Args:
        seed: The user's seed, any integer.
        *parts: Names or numbers that tell this key from others of the same seed.

    Returns:
        16 bytes, the same on every platform and in every process.
    """
    return hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=16).digest()


def hash_ids(ids: Sequence[bytes], seed: int) -> np.ndarray:
    """Hashes ids to three independent numbers each.

    Args:
        ids: Ids of examples.
        seed: The user's seed.

    Returns:
        uint64 `[rows, 3]`, the columns `ORDER`, `GROUP` and `RANK`.
    """
    blake2b, key = hashlib.blake2b, derive_key(seed, "examples")
    data = b"".join([blake2b(i, digest_size=24, key=key).digest() for i in ids])
    return np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(-1, 3)


def hash_label(label: bytes, key: bytes) -> int:
    """Hashes a label to a number below 2^64."""
    return int.from_bytes(hashlib.blake2b(label, digest_size=8, key=key).digest())


def threshold(fraction: float) -> int:
    """The number below which `fraction` of uniform 64-bit hashes lie, at most 2^64."""
    return int(fraction * 2.0**64)
