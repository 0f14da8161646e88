"""Mean distances of queries to a gallery, summed over all pairs without visiting any."""

from __future__ import annotations

import numpy as np


class MeanDistances:
    """Mean squared distances of queries to their own class and to all others, exact in float64.

    The sum over a class needs no pair: Σ|q − g|² = n|q|² + Σ|g|² − 2 q·Σg.

    Attributes:
        counts: int64 [2, Q], how many gallery rows there are of the query's own class, without
            the query itself, and of the others.
    """

    def __init__(self, embeddings: np.ndarray, classes: np.ndarray) -> None:
        """Takes the queries: float32 [Q, D] and int32 [Q]."""
        self._queries, self._classes = embeddings.astype(np.float64), classes
        self._squares = np.einsum("qd,qd->q", self._queries, self._queries)
        self._sums = np.zeros((2, len(classes)))
        self.counts = np.zeros((2, len(classes)), np.int64)

    def add(self, embeddings: np.ndarray, classes: np.ndarray, own: np.ndarray) -> None:
        """Adds gallery rows float32 [N, D] with classes int32 [N]; `own` as in `sweep`."""
        order = np.argsort(classes, kind="stable")
        present, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
        rows = embeddings[order].astype(np.float64)
        totals = np.add.reduceat(rows, starts)
        squares = np.add.reduceat(np.einsum("nd,nd->n", rows, rows), starts)

        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity stay what they are
            everything = (
                len(rows) * self._squares + squares.sum() - 2 * self._queries @ totals.sum(axis=0)
            )
            at = np.minimum(np.searchsorted(present, self._classes), len(present) - 1)
            known = np.flatnonzero(present[at] == self._classes)
            at = at[known]
            of_class = np.zeros(len(self._classes))
            of_class[known] = (
                counts[at] * self._squares[known]
                + squares[at]
                - 2 * np.einsum("qd,qd->q", self._queries[known], totals[at])
            )
            numbers = np.zeros(len(self._classes), np.int64)
            numbers[known] = counts[at]
            self._sums += [of_class, everything - of_class]
            self.counts += [numbers, len(rows) - numbers]

            itself = np.flatnonzero(own >= 0)
            group = (classes[own[itself]] != self._classes[itself]).astype(np.int64)
            apart = self._queries[itself] - embeddings[own[itself]]
            self._sums[group, itself] -= np.einsum("qd,qd->q", apart, apart)
            self.counts[group, itself] -= 1

    def values(self) -> np.ndarray:
        """d_ap and d_an, float64 [2, Q]; NaN where there is no such row."""
        with np.errstate(invalid="ignore"):
            means = self._sums / np.where(self.counts, self.counts, np.nan)
        return np.maximum(means, 0)  # rounding can fall below 0
