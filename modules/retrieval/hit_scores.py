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

import numpy as np

_CELLS = 1 << 20  # neighbours of queries with ties that are scored at once
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
    scores = _ordered(hits, relevant, ks)
    some = np.flatnonzero(_mixed(distances, hits, beyond))
    at_once = max(1, _CELLS // max(hits.shape[1], 1))
    for first in range(0, len(some), at_once):
        rows = some[first : first + at_once]
        of_rows = distances[rows], hits[rows], beyond[:, rows], relevant[rows]
        scores[rows] = _expected(*of_rows, ks)
    return scores


def _mixed(distances: np.ndarray, hits: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """Whether hits are tied with others, bool [Q]: only then ties have an effect."""
    if not hits.shape[1]:
        return np.zeros(len(hits), bool)
    tied = (hits[:, 1:] != hits[:, :-1]) & (distances[:, 1:] == distances[:, :-1])
    return tied.any(axis=1) | (beyond[1] != np.where(hits[:, -1], beyond[0], 0))


def _ordered(hits: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """The scores of the given order."""
    width = hits.shape[1]
    # hits_at[:, k] = hits@k, with a column for k = 0, so R = 0 needs no case of its own here.
    hits_at = np.zeros((len(hits), width + 1), dtype=np.int32)
    np.cumsum(hits, axis=1, out=hits_at[:, 1:])
    found = np.stack([hits_at[:, min(k, width)] > 0 for k in ks])
    ranks = np.arange(1, width + 1)
    precisions = np.divide(hits_at[:, 1:], ranks)
    counted = hits & (ranks <= relevant[:, None])
    first = np.argmax(hits, axis=1) + 1 if width else np.ones(len(hits), np.int64)
    return _columns(
        hits,
        hits_at,
        found,
        np.sum(precisions, axis=1, where=counted),
        (hits_at[:, -1] > 0) / first,
        relevant,
        ks,
    )


def _expected(
    distances: np.ndarray,
    hits: np.ndarray,
    beyond: np.ndarray,
    relevant: np.ndarray,
    ks: Sequence[int],
) -> np.ndarray:
    """The means over all orders of tied neighbours, by the formulas above."""
    rows, width = hits.shape
    starts = np.ones(hits.shape, bool)
    starts[:, 1:] = distances[:, 1:] != distances[:, :-1]
    group = np.cumsum(starts.reshape(-1)).reshape(hits.shape) - 1
    size = np.bincount(group.reshape(-1))
    size_hits = np.bincount(group.reshape(-1), hits.reshape(-1)).astype(np.int64)
    size[group[:, -1]] += beyond[0]
    size_hits[group[:, -1]] += beyond[1]
    before = np.flatnonzero(starts) % width
    hits_at = np.zeros((rows, width + 1), np.int64)
    np.cumsum(hits, axis=1, out=hits_at[:, 1:])
    hits_before = hits_at[:, :-1][starts]

    ranks = np.arange(1, width + 1)
    place = ranks - before[group]  # t
    chance = (size_hits / size)[group]
    others = (np.maximum(size_hits - 1, 0) / np.maximum(size - 1, 1))[group]
    expected_at = np.zeros((rows, width + 1))
    expected_at[:, 1:] = hits_before[group] + place * chance
    products = chance * (hits_before[group] + 1 + (place - 1) * others) / ranks

    found = np.zeros((len(ks), rows))
    for number, k in enumerate(ks):
        last = min(k, width) - 1
        at = group[:, last]
        none = _no_hit(size[at], size_hits[at], place[:, last])
        found[number] = np.where(hits_before[at] > 0, 1, 1 - none)

    first = group[np.arange(rows), np.argmax(size_hits[group] > 0, axis=1)]
    return _columns(
        chance,
        expected_at,
        found,
        np.sum(products, axis=1, where=ranks <= relevant[:, None]),
        reciprocal_ranks(before[first], size[first], size_hits[first]),
        relevant,
        ks,
    )


def _columns(
    chances: np.ndarray,
    hits_at: np.ndarray,
    found: np.ndarray,
    precisions: np.ndarray,
    reciprocals: np.ndarray,
    relevant: np.ndarray,
    ks: Sequence[int],
) -> np.ndarray:
    """The scores, or their means: all that is linear in hits is computed here.

    Args:
        chances: [Q, W], hit_i.
        hits_at: [Q, W + 1], hits@i from i = 0.
        found: [K, Q], whether the k nearest hold a hit.
        precisions: [Q], Σ_{i≤R} (hits@i / i) · hit_i.
        reciprocals: [Q], 1 / i of the first hit.
        relevant: [Q], R.
        ks: The values of k.
    """
    width = chances.shape[1]
    at_k = [hits_at[:, min(k, width)] for k in ks]
    some = np.maximum(relevant, 1)  # R, but safe to divide by
    discounts = 1 / np.log2(np.arange(2, max(ks) + 2))
    ideal = np.cumsum(discounts)
    gains = [chances[:, :k] @ discounts[: min(k, width)] for k in ks]
    return np.stack(
        [
            *(count / k for count, k in zip(at_k, ks, strict=True)),
            *(count / np.minimum(k, some) for count, k in zip(at_k, ks, strict=True)),
            *found.astype(np.float64),
            *(gain / ideal[np.minimum(k, some) - 1] for gain, k in zip(gains, ks, strict=True)),
            hits_at[np.arange(len(chances)), relevant] / some,
            precisions / some,
            reciprocals,
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
