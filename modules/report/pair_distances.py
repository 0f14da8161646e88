"""Distances between queries of one class and of two, for the histogram and the curve of errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 60
_MOST = 2000  # queries; so two million pairs


class PairDistances(NamedTuple):
    """Pairs of queries.

    Attributes:
        queries: How many were paired.
        edges: Of the bins, float64 [BINS + 1], squared L2 distances.
        same: Pairs of one class in each bin, int64 [BINS].
        different: Pairs of two classes in each bin.
        false_accepts: Rates of the curve, ascending; pairs of two classes below a threshold.
        true_accepts: As many rates: pairs of one class below it.
    """

    queries: int
    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray
    false_accepts: np.ndarray
    true_accepts: np.ndarray


def pair_distances(embeddings: np.ndarray, labels: np.ndarray) -> PairDistances | None:
    """Compares all pairs of the first queries.

    Args:
        embeddings: float32 [N, D], in random order.
        labels: Object array [N].

    Returns:
        None where there is no pair of one class or none of two.
    """
    finite = np.flatnonzero(np.isfinite(embeddings).all(axis=1))[:_MOST]
    rows, names = embeddings[finite].astype(np.float64), labels[finite]
    _, classes = np.unique(names, return_inverse=True)
    left, right = np.triu_indices(len(rows), 1)
    norms = (rows**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0)[left, right]
    same = classes[left] == classes[right]
    if not same.any() or same.all():
        return None
    edges = np.linspace(0, max(float(squared.max()), 1e-9), BINS + 1)
    order = np.argsort(squared, kind="stable")
    hits = same[order]
    # Behind the last of equal distances: pairs at one distance are accepted together.
    last = np.append(np.flatnonzero(np.diff(squared[order])), len(order) - 1)
    true = np.cumsum(hits)[last] / hits.sum()
    false = np.cumsum(~hits)[last] / (~hits).sum()
    shown = _spread(false, true)
    return PairDistances(
        len(rows),
        edges,
        np.histogram(squared[same], edges)[0],
        np.histogram(squared[~same], edges)[0],
        false[shown],
        true[shown],
    )


def _spread(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The points of a curve that an eye can tell apart, on a scale of powers of ten."""
    at = np.floor(np.log10(np.maximum(false, 1e-9)) * 40).astype(np.int64)
    up = np.floor(true * 300).astype(np.int64)
    changes = np.flatnonzero((np.diff(at) != 0) | (np.diff(up) != 0)) + 1
    return np.unique(np.concatenate([[0], changes, [len(false) - 1]]))
