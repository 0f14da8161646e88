"""Which classes share a bucket when confusable ones should: neighbours by their centroids.

All arithmetic that decides is exact: the centroids are integers, so neither the order of additions
nor the machine leaves a trace.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

# Images of a class that are embedded, at most.
SAMPLE = 4
# A unit vector is kept as so many units to 1, each coordinate rounded.
_GRID = 1 << 12
# Classes that stay together at least, so that a bucket has negatives of several.
LEAST_CLASSES = 8
# The share of a side may be a 20th of all from the one wanted, for a wider gap.
_SLACK = 20
_ROUNDS = 4


@dataclasses.dataclass
class Centroids:
    """Sums of the embeddings of some images of each class.

    Attributes:
        sums: int64 `[D]` by label, in units of 2^-12.
        counts: Number of images by label.
    """

    sums: dict[bytes, np.ndarray] = dataclasses.field(default_factory=dict)
    counts: dict[bytes, int] = dataclasses.field(default_factory=dict)

    def add(self, labels: list[bytes], embeddings: np.ndarray) -> None:
        """Adds images: their labels, and float32 `[images, D]` of norm 1."""
        units = np.rint(embeddings.astype(float) * _GRID).astype(np.int64)
        for label, vector in zip(labels, units, strict=True):
            self.sums[label] = self.sums.get(label, 0) + vector
            self.counts[label] = self.counts.get(label, 0) + 1

    def merge(self, other: Centroids) -> None:
        """Adds other images."""
        for label, vector in other.sums.items():
            self.sums[label] = self.sums.get(label, 0) + vector
            self.counts[label] = self.counts.get(label, 0) + other.counts[label]

    def means(self, labels: list[bytes]) -> np.ndarray:
        """The centroids of labels, each with an image here, int64 `[labels, D]`."""
        counts = np.array([self.counts[label] for label in labels])
        return _divide(np.stack([self.sums[label] for label in labels]), counts[:, None])


def bisect(
    centroids: np.ndarray, counts: np.ndarray, num_buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gives each class a range of buckets, the same to its neighbours.

    Classes and buckets are halved together, until there is one bucket or there are fewer than 16
    classes, which then share all the buckets left. The classes are cut across the direction between
    the means of two clusters (2-means, begun at two far classes), where the numbers of examples are
    as the numbers of buckets; if several cuts are within 5% of that, in the widest gap, so that
    twins stay together. A side has 8 classes at least, and as many buckets as it has examples for.

    Args:
        centroids: int64 `[classes, D]`.
        counts: Number of examples of each class, int64 `[classes]`, above 0.
        num_buckets: At least 1.

    Returns:
        The first bucket of each class and how many it has, int64 `[classes]` each.
    """
    first, width = np.zeros(len(counts), np.int64), np.full(len(counts), num_buckets)
    pending = [np.arange(len(counts))]
    while pending:
        classes = pending.pop()
        buckets = int(width[classes[0]])
        if buckets == 1 or len(classes) < 2 * LEAST_CLASSES:
            continue
        order, cut = _cut(centroids[classes], counts[classes], buckets)
        left, right = np.sort(classes[order[:cut]]), np.sort(classes[order[cut:]])
        share = Fraction(int(counts[left].sum()), int(counts[classes].sum()))
        of_left = min(max(round(buckets * share), 1), buckets - 1)
        width[left], width[right] = of_left, buckets - of_left
        first[right] += of_left
        pending += [left, right]
    return first, width


def _cut(points: np.ndarray, counts: np.ndarray, buckets: int) -> tuple[np.ndarray, int]:
    """An order of classes, and after how many of them to cut it for two halves of the buckets."""
    along = points @ _direction(points, counts)
    order = np.argsort(along, kind="stable")
    places = np.arange(LEAST_CLASSES, len(points) - LEAST_CLASSES + 1)
    gap = along[order[places]] - along[order[places - 1]]
    # Shares as whole numbers of 1 / (all examples · buckets): as floats, equal ones could differ.
    whole = counts.sum() * buckets
    off = np.abs(np.cumsum(counts[order])[places - 1] * buckets - counts.sum() * (buckets // 2))
    near = np.flatnonzero((off == off.min()) | (off * _SLACK <= whole))
    best = near[np.lexsort((off[near], -gap[near]))[0]]
    return order, int(places[best])


def _direction(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The difference of the means of two clusters, int64 `[D]`."""
    one = points[np.argmax(_squared(points - _mean(points, counts)))]
    two = points[np.argmax(_squared(points - one))]
    for _ in range(_ROUNDS):
        is_two = 2 * (points @ (two - one)) > (one + two) @ (two - one)
        if is_two.all() or not is_two.any():
            break
        one, two = _mean(points[~is_two], counts[~is_two]), _mean(points[is_two], counts[is_two])
    return two - one


def _squared(vectors: np.ndarray) -> np.ndarray:
    return (vectors**2).sum(axis=1)


def _mean(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return _divide(counts @ points, counts.sum())


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.rint(sums / counts).astype(np.int64)
