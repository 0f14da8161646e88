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


NO_TRIPLETS = TripletIndices(*(np.zeros(0, np.int64) for _ in range(3)))


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

    @property
    def sizes(self) -> np.ndarray:
        """Number of rows of each row's class, itself included, int64 `[rows]`."""
        return self._sizes[self._class]

    def draw_positives(
        self, anchor: np.ndarray, turn: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draws uniformly among the other rows of each anchor's class.

        It is start + (rank + 1 + (u + turn) mod (size − 1)) mod size, where rank is the anchor's
        place in its class, and u is drawn once for each row, uniform in 0 … size − 2. So an anchor
        has each other row once before it has one twice.

        Args:
            anchor: Row numbers, int64 `[triplets]`; a number may repeat.
            turn: How often the same anchor came before, int64 `[triplets]`.
            rng: Source of randomness.

        Returns:
            Row numbers, int64 `[triplets]`.

        Raises:
            ValueError: If an anchor's class has no second row.
        """
        start, size = self._interval(anchor)
        if np.any(size < 2):
            raise ValueError("an anchor has no positive: its class has no second row")
        first = rng.integers(0, np.maximum(1, self.sizes - 1))[anchor]
        rank = self._place[anchor] - start
        return self._by_class[start + (rank + 1 + (first + turn) % (size - 1)) % size]

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


def have_triplets(codes: np.ndarray, own: int) -> np.ndarray:
    """Says which rows have a positive and a negative.

    Args:
        codes: Class of each row, int `[rows]`, any integers.
        own: How many rows, the first ones, may be anchors and positives; all may be negatives.

    Returns:
        bool `[own]`.
    """
    return (Classes(codes[:own]).sizes > 1) & (Classes(codes).sizes[:own] < len(codes))


def draw_triplets(
    codes: np.ndarray,
    repeats: np.ndarray,
    rng: np.random.Generator,
    settings: TripletSettings | None = None,
    embeddings: np.ndarray | None = None,
    doubtful: np.ndarray | None = None,
) -> tuple[TripletIndices, np.ndarray]:
    """Chooses positives and negatives for the anchors of a bucket.

    Args:
        codes: Class of each row, int `[rows]`, any integers.
        repeats: How often each of the first rows is an anchor, int64 `[≤ rows]`. These are the
            candidates for positives, and those with 0 are that only. All rows are candidates for
            negatives.
        rng: Source of randomness of what is not mined.
        settings: How to choose; at random by default.
        embeddings: float32 `[rows, D]` of norm 1, if `settings.mines`.
        doubtful: Rows that are not mined as negatives, bool `[rows]`.

    Returns:
        The triplets by anchor, ascending, and whether a negative nearer than the mined one was left
        out, bool `[triplets]`.

    Raises:
        ValueError: If an anchor's class has no second row, or there is no other class.
    """
    settings = settings or TripletSettings()
    own = len(repeats)
    anchor = np.repeat(np.arange(own), repeats)
    turn = np.arange(len(anchor)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    if settings.positives == "hard":
        assert embeddings is not None
        positive = farthest_positives(embeddings[:own], codes[:own], anchor)
    else:
        positive = Classes(codes[:own]).draw_positives(anchor, turn, rng)
    if settings.mines_negatives:
        assert embeddings is not None
        place = rng.integers(0, settings.nearest, own)[anchor] + turn
        negative, left_out = mine_negatives(
            embeddings, codes, anchor, positive, place, settings, doubtful=doubtful
        )
    else:
        negative = Classes(codes).draw_negatives(anchor, rng)
        left_out = np.zeros(len(anchor), bool)
    return TripletIndices(anchor, positive, negative), left_out
