"""Scores of queries by which of their neighbours are hits, ties in expectation.

Neighbours at the same distance have no order, so a score is its mean over all of their orders. Let
a group of n tied neighbours stand behind a others, h of the n and c of the a being hits. Then, for
its places i = a + t with t = 1, …, n,

- a place holds a hit with probability E[hit_i] = h/n, so E[hits@i] = c + t · h/n. `precision`,
  `r_precision` and `ndcg` are sums of these.
- If place i holds a hit, each of the t − 1 tied places before it holds one of the h − 1 other hits
  with probability (h−1)/(n−1). So E[hit_i · hits@i] = h/n · (c + 1 + (t−1) · (h−1)/(n−1)), and
  `map@r` is a sum of these, each divided by i and R.
- The t first of the group hold no hit with probability C(n−h, t) / C(n, t). So `recall` is one less
  this where c = 0, and 1 elsewhere.
- The first hit of the group is at t with probability C(n−t, h−1) / C(n, h). `mrr` is the sum of
  1/(a + t) with these weights, for the nearest group that holds a hit.

A group of hits only, or of none, gives the scores of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CELLS = 1 << 20  # neighbours that are scored at once
_NEGLIGIBLE = 45  # weights below e⁻⁴⁵ are left out of a mean


def score_hits(
    distances: np.ndarray,
    hits: np.ndarray,
    beyond: np.ndarray,
    relevant: np.ndarray,
    ks: Sequence[int],
) -> np.ndarray:
    """Scores queries by their neighbours.

    Args:
        distances: [Q, W], any dtype, ascending; equal ones are tied. W is at least k and R, or all
            of the gallery.
        hits: bool [Q, W], whether the neighbour has the query's class.
        beyond: int64 [2, Q]: how many more neighbours are tied with the last, and how many of them
            are hits.
        relevant: int64 [Q], R.
        ks: The values of k.

    Returns:
        float64 [Q, S − 2], the columns `score_names(ks)` but for d_ap and d_an; `mrr` is 0 where
        none of the W, nor of those tied with the last, is a hit. Rows with R = 0 mean nothing.
    """
    if not hits.shape[1]:
        return np.zeros((len(hits), 4 * len(ks) + 3))
    at_once = max(1, _CELLS // hits.shape[1])
    scores = []
    for first in range(0, len(hits), at_once):
        rows = slice(first, first + at_once)
        sums = _Sums(hits[rows], relevant[rows], ks)
        ties = _mixed_ties(distances[rows], hits[rows], beyond[:, rows], sums.hits_at)
        if len(ties.rows):
            sums.spread(ties)
        scores.append(sums.scores())
    return np.concatenate(scores)


@dataclass(frozen=True, eq=False)
class _Ties:
    """Groups of tied neighbours that hold hits and others; only these have an effect.

    Attributes:
        rows: int64 [T], whose neighbours they are.
        before: a of the formulas above, int64 [T].
        kept: How many of the group are among the W neighbours.
        sizes: n.
        hits: h.
        hits_before: c.
    """

    rows: np.ndarray
    before: np.ndarray
    kept: np.ndarray
    sizes: np.ndarray
    hits: np.ndarray
    hits_before: np.ndarray


def _mixed_ties(
    distances: np.ndarray, hits: np.ndarray, beyond: np.ndarray, hits_at: np.ndarray
) -> _Ties:
    """Finds them; the arguments as for `score_hits`, and hits@i, int32 [Q, W + 1]."""
    width = hits.shape[1]
    level = np.zeros(hits.shape, bool)  # with the one before it
    np.equal(distances[:, 1:], distances[:, :-1], out=level[:, 1:])
    cells = np.flatnonzero(level)
    # A group begins before the first of adjacent cells; or it is the last neighbour alone.
    begins = np.flatnonzero(np.diff(cells, prepend=-2) != 1)
    firsts, kept = cells[begins] - 1, np.diff(np.append(begins, len(cells))) + 1
    alone = np.flatnonzero((beyond[0] > 0) & ~level[:, -1])
    firsts = np.concatenate([firsts, alone * width + width - 1])
    kept = np.concatenate([kept, np.ones(len(alone), np.int64)])

    rows, before = np.divmod(firsts, width)
    hits_before = hits_at[rows, before].astype(np.int64)
    more = np.where(before + kept == width, beyond[:, rows], 0)
    sizes, of_group = kept + more[0], hits_at[rows, before + kept] - hits_before + more[1]
    mixed = np.flatnonzero((of_group > 0) & (of_group < sizes))
    return _Ties(*(part[mixed] for part in (rows, before, kept, sizes, of_group, hits_before)))


class _Sums:
    """What scores are made of: first of the given order, then spread over all orders of ties."""

    def __init__(self, hits: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> None:
        self._hits, self._relevant, self._ks = hits, relevant, ks
        rows, width = hits.shape
        # hits_at[:, i] = hits@i, with a column for i = 0, so R = 0 needs no case of its own.
        self.hits_at = np.zeros((rows, width + 1), dtype=np.int32)
        np.cumsum(hits, axis=1, out=self.hits_at[:, 1:])
        # Places of which hits@i is asked: the values of k, and R.
        self._places = np.array([*(np.full(rows, min(k, width)) for k in ks), relevant])
        self._hits_at = self.hits_at[np.arange(rows), self._places].astype(np.float64)
        self._found = (self._hits_at[:-1] > 0).astype(np.float64)
        self._discounts = 1 / np.log2(np.arange(2, max(ks) + 2))
        self._gains = np.stack([hits[:, :k] @ self._discounts[: min(k, width)] for k in ks])
        ranks = np.arange(1, width + 1)
        precisions = np.divide(self.hits_at[:, 1:], ranks)
        counted = hits & (ranks <= relevant[:, None])
        self._precisions = np.sum(precisions, axis=1, where=counted)
        self._reciprocals = (self.hits_at[:, -1] > 0) / (np.argmax(hits, axis=1) + 1)

    def spread(self, ties: _Ties) -> None:
        """Puts means over all orders in the place of the sums of the given order."""
        for number, places in enumerate(self._places):
            inside = places[ties.rows] - ties.before  # t
            cut = np.flatnonzero((inside > 0) & (inside < ties.sizes))
            self._hits_at[number, ties.rows[cut]] = (
                ties.hits_before[cut] + inside[cut] * ties.hits[cut] / ties.sizes[cut]
            )
            if number < len(self._ks):
                cut = cut[ties.hits_before[cut] == 0]
                none = _no_hit(ties.sizes[cut], ties.hits[cut], inside[cut])
                self._found[number, ties.rows[cut]] = 1 - none
        first = np.flatnonzero(ties.hits_before == 0)
        self._reciprocals[ties.rows[first]] = reciprocal_ranks(
            ties.before[first], ties.sizes[first], ties.hits[first]
        )
        self._spread_cells(ties)

    def _spread_cells(self, ties: _Ties) -> None:
        """The same for what is summed over places: differences of each place's mean."""
        group = np.repeat(np.arange(len(ties.rows)), ties.kept)
        ends = np.cumsum(ties.kept)
        place = np.arange(len(group)) - (ends - ties.kept)[group] + 1  # t
        rows, ranks = ties.rows[group], ties.before[group] + place
        hits, total = self._hits[rows, ranks - 1], len(self._hits)
        chances = (ties.hits / ties.sizes)[group]
        others = ((ties.hits - 1) / (ties.sizes - 1))[group]

        products = chances * (ties.hits_before[group] + 1 + (place - 1) * others)
        products -= hits * self.hits_at[rows, ranks]
        counted = ranks <= self._relevant[rows]
        self._precisions += np.bincount(rows, products / ranks * counted, total)
        chances -= hits
        for number, k in enumerate(self._ks):
            near = np.flatnonzero(ranks <= k)
            gains = chances[near] * self._discounts[ranks[near] - 1]
            self._gains[number] += np.bincount(rows[near], gains, total)

    def scores(self) -> np.ndarray:
        """Float64 [Q, S − 2], as `score_hits` returns them."""
        some = np.maximum(self._relevant, 1)  # R, but safe to divide by
        ideal = np.cumsum(self._discounts)
        capped = [np.minimum(k, some) for k in self._ks]
        return np.stack(
            [
                *(count / k for count, k in zip(self._hits_at, self._ks, strict=False)),
                *(count / k for count, k in zip(self._hits_at, capped, strict=False)),
                *self._found,
                *(gain / ideal[k - 1] for gain, k in zip(self._gains, capped, strict=True)),
                self._hits_at[-1] / some,
                self._precisions / some,
                self._reciprocals,
            ],
            axis=1,
        )


def _no_hit(sizes: np.ndarray, hits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """C(n−h, t) / C(n, t): that none of t out of n is a hit; n, h and t are int64 [Q]."""
    result = np.ones(len(sizes))
    for drawn in range(int(places.max(initial=0))):
        left = np.maximum(sizes - hits - drawn, 0) / np.maximum(sizes - drawn, 1)
        result *= np.where(drawn < places, left, 1)
    return result


def reciprocal_ranks(before: np.ndarray, sizes: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """The mean of 1 / rank of the first hit, where a group of ties holds it.

    Args:
        before: int64 [Q], a: how many neighbours are nearer than the group.
        sizes: int64 [Q], n: how many are in the group.
        hits: int64 [Q], h: how many of them are hits.

    Returns:
        float64 [Q]; 0 where h is 0.

    >>> reciprocal_ranks(np.array([0]), np.array([3]), np.array([1]))  # (1 + 1/2 + 1/3) / 3
    array([0.61111111])
    """
    groups, of_group = np.unique(np.stack([before, sizes, hits]), axis=1, return_inverse=True)
    means = np.zeros(groups.shape[1])
    for number, (a, n, h) in enumerate(groups.T.tolist()):
        if h:
            # From t to t + 1 the weight is multiplied by (n − t − h + 1) / (n − t).
            places = np.arange(1, min(n - h, _NEGLIGIBLE * n // h) + 1)
            weights = np.cumprod(np.concatenate([[h / n], (n - places - h + 1) / (n - places)]))
            means[number] = np.sum(weights / (a + 1 + np.arange(len(weights))))
    return means[of_group.reshape(-1)]
