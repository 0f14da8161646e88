"""Which bucket an example is in: a function of its id and label, the label counts and the seed.

A bucket holds a few thousand examples, several of each of several classes, and triplets are
drawn inside it. So one shuffle is enough, memory is bounded by the bucket, and nothing depends
on how the input is ordered or split into files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

# Mean number of examples in a block, at least. Blocks are filled by hash, so their sizes vary;
# an example is alone in its block with probability about exp(−64), which is never.
BLOCK = 64
# A bucket in which some class meets fewer rows of other classes than this gets the reserve.
MIN_NEGATIVES = 32
# Expected rows in the reserve: of the most frequent class, and of all others together.
RESERVE_FREQUENT = 128
RESERVE_OTHERS = 256


def derive_key(seed: int, *parts: object) -> bytes:
    """Derives an independent 16-byte key from the seed and what it is for.

    Args:
        seed: The user's seed, any integer.
        *parts: Names or numbers that tell this key from others of the same seed.

    Returns:
        16 bytes, the same on every platform and in every process.
    """
    return hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=16).digest()


def hash_ids(ids: Sequence[bytes], key: bytes) -> bytes:
    """Hashes ids to 128 bits each.

    Args:
        ids: Ids of examples.
        key: A key of `derive_key`.

    Returns:
        16 bytes per id, concatenated; `as_digests` reads them.
    """
    blake2b = hashlib.blake2b
    return b"".join([blake2b(i, digest_size=16, key=key).digest() for i in ids])


def as_digests(data: bytes) -> np.ndarray:
    """Views the bytes of `hash_ids` as uint64 `[rows, 2]`: order hash and block hash."""
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def count_buckets(examples: int, bucket_size: int) -> int:
    """The number of buckets of a split: ⌈examples / bucket_size⌉."""
    return -(-examples // bucket_size)


class BucketPlan:
    """Assigns the examples of one split to buckets, and some of them to the reserve as well.

    A label with n examples has b = max(1, ⌊n / 64⌋) blocks; an example goes to block
    (block hash mod b) of its label, and a block to a bucket by a hash of label and block number.
    So examples of a label stay together in groups of about 64 or more, while the labels mix.

    The reserve is for buckets where one class leaves too few negatives. It expects 128 rows of
    the most frequent label and 256 of all others together (all of them when there are fewer), so
    whatever class fills a bucket, the reserve has rows of other classes.

    Attributes:
        num_buckets: See `count_buckets`.
        key: Key to hash the ids of this split with.
    """

    def __init__(
        self, label_counts: Mapping[bytes, int], bucket_size: int, seed: int, split: str
    ) -> None:
        """Prepares the table from (label, block) to bucket.

        Args:
            label_counts: Number of examples of every label of the split, not empty.
            bucket_size: Mean number of examples in a bucket.
            seed: The user's seed.
            split: Name of the split; equal data in two splits is bucketed differently.
        """
        labels = list(label_counts)
        counts = np.fromiter(label_counts.values(), np.int64, len(labels))
        total = int(counts.sum())
        self.num_buckets = count_buckets(total, bucket_size)
        self.key = derive_key(seed, split, "examples")
        self._code = {label: code for code, label in enumerate(labels)}
        blocks = np.maximum(1, counts // BLOCK)
        self._blocks = blocks.astype(np.uint64)
        self._first = np.cumsum(blocks) - blocks

        key = derive_key(seed, split, "blocks")
        self._bucket = np.fromiter(
            (
                int.from_bytes(
                    hashlib.blake2b(b"%d:%b" % (block, label), digest_size=8, key=key).digest()
                )
                % self.num_buckets
                for label, n in zip(labels, blocks.tolist(), strict=True)
                for block in range(n)
            ),
            np.int64,
            int(blocks.sum()),
        )

        frequent = max(label_counts, key=lambda label: (label_counts[label], label))
        others = total - label_counts[frequent]
        self._reserve_below = np.full(len(labels), _threshold(RESERVE_OTHERS, others))
        self._reserve_below[self._code[frequent]] = _threshold(
            RESERVE_FREQUENT, label_counts[frequent]
        )

    def assign(self, labels: Sequence[bytes], digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Assigns examples to buckets and the reserve.

        Args:
            labels: Label of each example, all of them among the counted ones.
            digests: uint64 `[rows, 2]` of their ids, see `as_digests`.

        Returns:
            The bucket of each row, int64 `[rows]`, and whether it is in the reserve, bool
            `[rows]`.
        """
        codes = np.fromiter(map(self._code.__getitem__, labels), np.int64, len(labels))
        block = (digests[:, 1] % self._blocks[codes]).astype(np.int64)
        return (
            self._bucket[self._first[codes] + block],
            digests[:, 0] <= self._reserve_below[codes],
        )


def _threshold(wanted: int, available: int) -> np.uint64:
    """The hash value up to which about `wanted` of `available` uniform 64-bit hashes lie."""
    full = 2**64 - 1
    return np.uint64(full if wanted >= available else full * wanted // available)
