"""Which bucket an example is in: a function of its id and label, the label counts and the seed.

A bucket holds a few thousand examples, several of each of several classes, and triplets are
drawn inside it. So one shuffle is enough, memory is bounded by the bucket, and nothing depends
on how the input is ordered or split into files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from components.triplet_gen.hashes import GROUP, ORDER, derive_key
from components.triplet_gen.neighbourhood import Centroids, bisect

# Mean number of examples in a group, at least. Groups are filled by hash, so their sizes vary; an
# example is alone in its group with probability about exp(−64), which is never.
GROUP_SIZE = 64
# A bucket in which some class is expected to meet fewer rows of other classes than this gets the
# reserve. The others are whole classes, or groups of 64 or more on average, so of 128 expected rows
# fewer than 32 turn up with a probability below exp(−36).
MIN_NEGATIVES = 128
# Expected rows in the reserve: of the most frequent class, and of all others together.
RESERVE_FREQUENT = 128
RESERVE_OTHERS = 256


class BucketPlan:
    """Assigns the examples of one part to buckets, and some of them to the reserve as well.

    A label with n examples has b = max(1, ⌊n / 64⌋) groups; an example goes to group
    (group hash mod b) of its label, and a group to a bucket by a hash of label and group number.
    So examples of a label stay together in groups of about 64 or more, while the labels mix. With
    centroids a group has only the buckets of its neighbourhood to go to, see `bisect`.

    The reserve is for buckets where one class leaves too few negatives. It expects 128 rows of
    the most frequent label and 256 of all others together (all of them when there are fewer), so
    whatever class fills a bucket, the reserve has rows of other classes.

    Attributes:
        num_buckets: ⌈examples / bucket_size⌉.
        needs_reserve: Numbers of the buckets that get the reserve.
    """

    def __init__(
        self,
        label_counts: Mapping[bytes, int],
        bucket_size: int,
        seed: int,
        part: str,
        centroids: Centroids | None = None,
    ) -> None:
        """Prepares the table from (label, group) to bucket.

        Args:
            label_counts: Number of examples of every label of the part, 0 included, not all 0.
            bucket_size: Mean number of examples in a bucket.
            seed: The user's seed.
            part: Its name; equal data in two parts is bucketed differently.
            centroids: Of every label that has examples; default: classes mix by hash alone.
        """
        labels = sorted(label_counts)
        counts = np.fromiter(map(label_counts.__getitem__, labels), np.int64, len(labels))
        total = int(counts.sum())
        self.num_buckets = -(-total // bucket_size)
        groups = np.maximum(1, counts // GROUP_SIZE)
        self._groups = groups.astype(np.uint64)
        self._first = np.cumsum(groups) - groups

        ranges = self._ranges(labels, counts, centroids)
        key = derive_key(seed, part, "groups")
        self._bucket = np.fromiter(
            (
                int.from_bytes(
                    hashlib.blake2b(b"%d:%b" % (group, label), digest_size=8, key=key).digest()
                )
                % width
                + first
                for label, n, first, width in zip(labels, groups.tolist(), *ranges, strict=True)
                for group in range(n)
            ),
            np.int64,
            int(groups.sum()),
        )

        self.needs_reserve = self._few_negatives(counts, groups)
        frequent = len(counts) - 1 - int(np.argmax(counts[::-1]))
        self._reserve_below = np.full(
            len(labels), _reserve_threshold(RESERVE_OTHERS, total - int(counts[frequent]))
        )
        self._reserve_below[frequent] = _reserve_threshold(RESERVE_FREQUENT, int(counts[frequent]))

    def _ranges(
        self, labels: list[bytes], counts: np.ndarray, centroids: Centroids | None
    ) -> tuple[list[int], list[int]]:
        """The first bucket of each label, and how many it has."""
        first, width = np.zeros(len(labels), np.int64), np.full(len(labels), self.num_buckets)
        if centroids:
            there = np.flatnonzero(counts)
            means = centroids.means([labels[code] for code in there])
            first[there], width[there] = bisect(means, counts[there], self.num_buckets)
        return first.tolist(), width.tolist()

    def _few_negatives(self, counts: np.ndarray, groups: np.ndarray) -> list[int]:
        """Buckets in which the greatest class is expected to leave fewer than `MIN_NEGATIVES`."""
        size = np.repeat(counts / groups, groups)
        label = np.repeat(np.arange(len(counts)), groups)
        expected = np.bincount(self._bucket, size, self.num_buckets)
        # All groups of a label in a bucket together are one class of it.
        classes, which = np.unique(self._bucket * len(counts) + label, return_inverse=True)
        greatest = np.zeros(self.num_buckets)
        np.maximum.at(greatest, classes // len(counts), np.bincount(which, size))
        return np.flatnonzero((expected > 0) & (expected - greatest < MIN_NEGATIVES)).tolist()

    def assign(self, codes: np.ndarray, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Assigns examples to buckets and the reserve.

        Args:
            codes: Label of each example, its number among the sorted labels, int64 `[rows]`.
            digests: uint64 `[rows, 3]` of their ids, see `hash_ids`.

        Returns:
            The bucket of each row, int64 `[rows]`, and whether it is in the reserve, bool
            `[rows]`.
        """
        group = (digests[:, GROUP] % self._groups[codes]).astype(np.int64)
        return (
            self._bucket[self._first[codes] + group],
            digests[:, ORDER] <= self._reserve_below[codes],
        )


def _reserve_threshold(wanted: int, available: int) -> np.uint64:
    """The hash value up to which about `wanted` of `available` uniform 64-bit hashes lie."""
    full = 2**64 - 1
    return np.uint64(full if wanted >= available else full * wanted // available)
