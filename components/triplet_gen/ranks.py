"""Rank hashes of many classes, as columns: a dictionary of small arrays would take far longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from components.triplet_gen.rows import encode_labels


class Ranks(NamedTuple):
    """Rank hashes of some examples; by label and then ascending, if `join_ranks` made them.

    Attributes:
        labels: Label of each example, object array of bytes `[rows]`.
        hashes: uint64 `[rows]`.
    """

    labels: np.ndarray
    hashes: np.ndarray

    def lowest(self, at_least: int, below: int) -> Ranks:
        """Of each label the first `at_least`, and all others below a number."""
        before, _ = self._places()
        return self._take((before < at_least) | (self.hashes < np.uint64(min(below, 2**64 - 1))))

    def highest(self, limit: int) -> Ranks:
        """Of each label the last `limit`."""
        _, after = self._places()
        return self._take(after < limit)

    def by_label(self) -> dict[bytes, np.ndarray]:
        """The hashes of each label, ascending."""
        starts = self._starts()
        names = self.labels[starts].tolist()
        return dict(zip(names, np.split(self.hashes, starts[1:]), strict=bool(names)))

    def _starts(self) -> np.ndarray:
        """Where each label begins."""
        changes = self.labels[1:] != self.labels[:-1]
        return np.flatnonzero(np.r_[len(self.labels) > 0, changes][: len(self.labels)])

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """How many of the same label stand before and after each."""
        starts = self._starts()
        sizes = np.diff(np.r_[starts, len(self.labels)])
        before = np.arange(len(self.labels)) - np.repeat(starts, sizes)
        return before, np.repeat(sizes, sizes) - 1 - before

    def _take(self, which: np.ndarray) -> Ranks:
        return Ranks(self.labels[which], self.hashes[which])


NO_RANKS = Ranks(np.zeros(0, object), np.zeros(0, np.uint64))


def join_ranks(parts: Sequence[Ranks]) -> Ranks:
    """Joins and sorts rank hashes.

    Args:
        parts: In any order; at least one.
    """
    labels, hashes = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((hashes, encode_labels(labels)))
    return Ranks(labels[order], hashes[order])
