"""Vectorised sampling of triplets from the labels of one bucket: numpy only, no files, no Beam."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Triplets(NamedTuple):
    """Row numbers of triplets: the i-th triplet is (`anchor[i]`, `positive[i]`, `negative[i]`).

    Attributes:
        anchor: int64 `[triplets]`.
        positive: int64 `[triplets]`, another row of the anchor's class.
        negative: int64 `[triplets]`, a row of another class.
    """

    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def sample_triplets(
    codes: np.ndarray,
    is_anchor: np.ndarray,
    triplets_per_anchor: int,
    rng: np.random.Generator,
) -> Triplets:
    """Draws triplets uniformly and independently, with replacement.

    The positive is uniform over the other rows of the anchor's class, the negative uniform over
    all rows of other classes; so a frequent class is a negative as often as it is frequent.

    With the rows sorted by class, a class is one interval `[start, start + size)`. Then
    positive = start + (rank + u) mod size with u uniform in 1 … size − 1, where rank is the
    anchor's place in its class; negative = v if v < start else v + size, with v uniform in
    0 … rows − size − 1. No rejection, no loop over anchors.

    Args:
        codes: Class of each row, int `[rows]`, any integers.
        is_anchor: Whether a row is an anchor, bool `[rows]`. The others are candidates only.
        triplets_per_anchor: How often each anchor is drawn, at least 1.
        rng: Source of randomness.

    Returns:
        `triplets_per_anchor` × anchors triplets, repeat-major: all anchors in row order, then
        all of them again. So consecutive triplets have different anchors.

    Raises:
        ValueError: If an anchor's class has no second row, or there is no other class.
    """
    anchors = np.flatnonzero(is_anchor)
    _, classes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    by_class = np.argsort(classes, kind="stable")
    place = np.empty(len(classes), np.int64)
    place[by_class] = np.arange(len(classes))

    anchor = np.tile(anchors, triplets_per_anchor)
    start, size = starts[classes[anchor]], sizes[classes[anchor]]
    if np.any(size < 2):
        raise ValueError("an anchor has no positive: its class has no second row")
    if np.any(size == len(classes)):
        raise ValueError("an anchor has no negative: all rows have its class")

    positive = start + (place[anchor] - start + rng.integers(1, size)) % size
    negative = rng.integers(0, len(classes) - size)
    negative = np.where(negative < start, negative, negative + size)
    return Triplets(anchor, by_class[positive], by_class[negative])
