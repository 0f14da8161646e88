"""Mean distances of queries to a gallery, summed over all pairs without visiting any."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.sparse import csr_array


class MeanDistances:
    """Mean squared distances of queries to their own class and to all others, exact in float64.

    The sum over a class needs no pair: Σ|q − g|² = n|q|² + Σ|g|² − 2 q·Σg. Of it the sum over the
    query's groups is taken off, by inclusion and exclusion where there are several columns.

    Attributes:
        counts: int64 [2, Q], how many neighbours there are of the query's own class, and of the
            others.
        left_out: int64 [2, Q], how many gallery rows of either kind are no neighbours: the query
            itself and those of its groups.
    """

    def __init__(
        self, embeddings: np.ndarray, classes: np.ndarray, groups: np.ndarray | None = None
    ) -> None:
        """Takes the queries: float32 [Q, D], int32 [Q], and their groups int32 [Q, C]."""
        self._queries, self._classes = embeddings.astype(np.float64), classes
        self._groups = np.empty((len(classes), 0), np.int32) if groups is None else groups
        self._squares = np.einsum("qd,qd->q", self._queries, self._queries)
        self._sums = np.zeros((2, len(classes)))
        self.counts = np.zeros((2, len(classes)), np.int64)
        self.left_out = np.zeros((2, len(classes)), np.int64)

    def add(
        self,
        embeddings: np.ndarray,
        classes: np.ndarray,
        own: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> None:
        """Adds gallery rows float32 [N, D] of classes int32 [N] and groups int32 [N, C].

        `own` is as in `modules.retrieval.search.start_sweep`.
        """
        groups = np.empty((len(classes), 0), np.int32) if groups is None else groups
        rows = embeddings.astype(np.float64)
        norms = np.einsum("nd,nd->n", rows, rows)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity stay what they are
            everything = (
                len(rows) * self._squares + norms.sum() - 2 * self._queries @ rows.sum(axis=0)
            )
            of_class, numbers = self._of_equal(rows, norms, classes, self._classes)
            self._sums += [of_class, everything - of_class]
            self.counts += [numbers, len(rows) - numbers]
            columns = range(self._groups.shape[1])
            for size in range(1, len(columns) + 1):
                for some in combinations(columns, size):
                    theirs, mine = _joined(groups[:, some], self._groups[:, some])
                    sums, numbers = self._of_equal(rows, norms, theirs, mine)
                    self._leave_out(0, (-1) ** (size + 1) * sums, (-1) ** (size + 1) * numbers)

            itself = np.flatnonzero(own >= 0)
            grouped = (groups[own[itself]] == self._groups[itself]).any(axis=1)
            itself = itself[~grouped]
            apart = self._queries[itself] - rows[own[itself]]
            of_other = classes[own[itself]] != self._classes[itself]
            squares = np.einsum("qd,qd->q", apart, apart)
            for kind, here in enumerate((~of_other, of_other)):
                self._leave_out(kind, squares[here], 1, itself[here])

    def _leave_out(
        self,
        kind: int,
        sums: np.ndarray,
        numbers: np.ndarray | int,
        queries: np.ndarray | slice = slice(None),
    ) -> None:
        self._sums[kind, queries] -= sums
        self.counts[kind, queries] -= numbers
        self.left_out[kind, queries] += numbers

    def _of_equal(
        self, rows: np.ndarray, norms: np.ndarray, theirs: np.ndarray, mine: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squared distances to the rows that have the query's key, and their numbers."""
        present, of_mine = np.unique(mine, return_inverse=True)
        at = np.minimum(np.searchsorted(present, theirs), len(present) - 1)
        same = np.flatnonzero(present[at] == theirs)
        # A row for each key of the queries, with a 1 in the columns of the gallery that have it.
        ones = np.ones(len(same))
        matrix = csr_array((ones, (at[same], same)), shape=(len(present), len(theirs)))
        counts = np.bincount(at[same], minlength=len(present))
        totals, squares = matrix @ rows, matrix @ norms
        known = np.flatnonzero(counts[of_mine])
        at = of_mine[known]
        sums, numbers = np.zeros(len(mine)), np.zeros(len(mine), np.int64)
        sums[known] = (
            counts[at] * self._squares[known]
            + squares[at]
            - 2 * np.einsum("qd,qd->q", self._queries[known], totals[at])
        )
        numbers[known] = counts[at]
        return sums, numbers

    def values(self) -> np.ndarray:
        """d_ap and d_an, float64 [2, Q]; NaN where there is no such row."""
        with np.errstate(invalid="ignore"):
            means = self._sums / np.where(self.counts, self.counts, np.nan)
        return np.maximum(means, 0)  # rounding can fall below 0


def _joined(theirs: np.ndarray, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One key for the groups by several columns, int64 [N] and [Q]; −1 where a query has none."""
    if theirs.shape[1] == 1:
        return theirs[:, 0], mine[:, 0]
    _, keys = np.unique(np.concatenate([theirs, mine]), axis=0, return_inverse=True)
    return keys[: len(theirs)], np.where((mine < 0).any(axis=1), -1, keys[len(theirs) :])
