"""Triplets by loops over rows: the definitions that the vectorised miners are tested against."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from modules.images import decode_images
from modules.settings import ImageSettings
from tests.real_data import digits

Triplet = tuple[int, int, int]


def pairs(labels: list[int]) -> list[tuple[int, int, list[int]]]:
    """All (anchor, positive, negatives of the anchor) with at least one negative."""
    rows = range(len(labels))
    found = [
        (a, p, [n for n in rows if labels[n] != labels[a]])
        for a, p in itertools.permutations(rows, 2)
        if labels[a] == labels[p]
    ]
    return [pair for pair in found if pair[2]]


def all_of(squared: np.ndarray, labels: list[int]) -> list[Triplet]:
    return [(a, p, n) for a, p, negatives in pairs(labels) for n in negatives]


def _semi_hard_negative(row: np.ndarray, positive: int, negatives: list[int]) -> int:
    farther = [n for n in negatives if row[n] > row[positive]]
    if farther:
        return min(farther, key=lambda n: row[n])
    return max(negatives, key=lambda n: row[n])


def semi_hard(squared: np.ndarray, labels: list[int]) -> list[Triplet]:
    return [(a, p, _semi_hard_negative(squared[a], p, ns)) for a, p, ns in pairs(labels)]


def hard(squared: np.ndarray, labels: list[int]) -> list[Triplet]:
    chosen = []
    for a, group in itertools.groupby(pairs(labels), key=lambda pair: pair[0]):
        candidates = list(group)
        p = max((p for _, p, _ in candidates), key=lambda p: squared[a][p])
        chosen.append((a, p, min(candidates[0][2], key=lambda n: squared[a][n])))
    return chosen


def easy_positive(squared: np.ndarray, labels: list[int]) -> list[Triplet]:
    chosen = []
    for a, group in itertools.groupby(pairs(labels), key=lambda pair: pair[0]):
        candidates = list(group)
        p = min((p for _, p, _ in candidates), key=lambda p: squared[a][p])
        chosen.append((a, p, _semi_hard_negative(squared[a], p, candidates[0][2])))
    return chosen


MINERS = {"semi_hard": semi_hard, "hard": hard, "easy_positive": easy_positive}


@functools.cache
def unit_digits(dimension: int = 6, per_class: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Real digits as unit rows float32 [10·per_class, dimension], and their labels.

    Their pixels in a random projection: points on a sphere with the overlap of real classes.
    """
    rows = digits(per_class)
    images = decode_images(np.array([image for image, _, _ in rows]), ImageSettings()).numpy()
    projection = np.random.default_rng(0).normal(size=(28 * 28, dimension))
    points = (images.reshape(len(rows), -1) - images.mean()) @ projection
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), np.array([int(label) for _, label, _ in rows])
