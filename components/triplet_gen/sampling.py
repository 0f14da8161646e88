"""Vectorised sampling of triplets from the labels of one bucket: numpy only, no files, no Beam."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from components.triplet_gen.mining import farthest_positives, mine_negatives
from modules.settings import TripletSettings


class TripletIndices(NamedTuple):
    """Row numbers of triplets: the i-th triplet is (`anchor[i]`, `positive[i]`, `negative[i]`).

    Attributes:
        anchor: int64 `[triplets]`.
        positive: int64 `[triplets]`, another row of the anchor's class.
        negative: int64 `[triplets]`, a row of another class.
    """

    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


class Classes:
    """The rows of a bucket, laid out class by class.

    With the rows sorted by class, a class is one interval `[start, start + size)`, which makes
    both draws a matter of arithmetic: no rejection, no loop over anchors.
    """

    def __init__(self, codes: np.ndarray) -> None:
        """Sorts the rows.

        Args:
            codes: Class of each row, int `[rows]`, any integers.
        """
        _, self._class, sizes = np.unique(codes, return_inverse=True, return_counts=True)
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes
        self._by_class = np.argsort(self._class, kind="stable")
        self._place = np.empty(len(codes), np.int64)
        self._place[self._by_class] = np.arange(len(codes))

    def has_triplet(self) -> np.ndarray:
        """Whether each row has a positive and a negative, bool `[rows]`."""
        size = self._sizes[self._class]
        return (size > 1) & (size < len(size))

    def draw_positives(self, anchor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws uniformly among the other rows of each anchor's class.

        It is start + (rank + u) mod size with u uniform in 1 … size − 1, where rank is the anchor's
        place in its class.

        Args:
            anchor: Row numbers, int64 `[triplets]`; a number may repeat.
            rng: Source of randomness.

        Returns:
            Row numbers, int64 `[triplets]`, drawn independently, with replacement.

        Raises:
            ValueError: If an anchor's class has no second row.
        """
        start, size = self._interval(anchor)
        if np.any(size < 2):
            raise ValueError("an anchor has no positive: its class has no second row")
        rank = self._place[anchor] - start
        return self._by_class[start + (rank + rng.integers(1, size)) % size]

    def draw_negatives(self, anchor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws uniformly among all rows of other classes than the anchor's.

        So a frequent class is a negative as often as it is frequent. It is v if v < start, else
        v + size, with v uniform in 0 … rows − size − 1.

        Args:
            anchor: Row numbers, int64 `[triplets]`; a number may repeat.
            rng: Source of randomness.

        Returns:
            Row numbers, int64 `[triplets]`, drawn independently, with replacement.

        Raises:
            ValueError: If there is no other class.
        """
        start, size = self._interval(anchor)
        if np.any(size == len(self._place)):
            raise ValueError("an anchor has no negative: all rows have its class")
        draw = rng.integers(0, len(self._place) - size)
        return self._by_class[np.where(draw < start, draw, draw + size)]

    def _interval(self, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of_anchor = self._class[anchor]
        return self._starts[of_anchor], self._sizes[of_anchor]


def order_anchors(repeats: np.ndarray) -> np.ndarray:
    """Repeats each row number, evenly spread.

    The j-th of r repeats of row i of n stands at (j + (i + ½) / n) / r of the way. So when all have
    the same number, all anchors follow in row order, then all of them again; and whatever the
    numbers, every part of the file has about the same mixture.

    Args:
        repeats: How often each row is an anchor, int64 `[rows]`.

    Returns:
        Row numbers, int64 `[Σ repeats]`.
    """
    rows = np.repeat(np.arange(len(repeats)), repeats)
    turn = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    position = (turn + (rows + 0.5) / len(repeats)) / repeats[rows]
    return rows[np.argsort(position, kind="stable")]


def draw_triplets(
    codes: np.ndarray,
    repeats: np.ndarray,
    rng: np.random.Generator,
    settings: TripletSettings | None = None,
    embeddings: np.ndarray | None = None,
) -> TripletIndices:
    """Chooses a positive and a negative for each anchor of a bucket.

    Args:
        codes: Class of each row, int `[rows]`, any integers.
        repeats: How often each row is an anchor, int64 `[rows]`. Rows with 0 are candidates only.
        rng: Source of randomness of what is not mined.
        settings: `strategy` and `positives` count here; both are random by default.
        embeddings: float32 `[rows, D]` of norm 1, if `settings.needs_model`.

    Returns:
        The triplets, with the anchors of `order_anchors`.

    Raises:
        ValueError: If an anchor's class has no second row, or there is no other class.
    """
    settings = settings or TripletSettings()
    classes, anchor = Classes(codes), order_anchors(repeats)
    if settings.positives == "hard":
        assert embeddings is not None
        positive = farthest_positives(embeddings, codes, anchor)
    else:
        positive = classes.draw_positives(anchor, rng)
    if settings.mines_negatives:
        assert embeddings is not None
        negative = mine_negatives(embeddings, codes, anchor, positive, settings.strategy)
    else:
        negative = classes.draw_negatives(anchor, rng)
    return TripletIndices(anchor, positive, negative)
