"""Rows about images, without the images: what the search for copies works with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Sightings(NamedTuple):
    """What is known of some images.

    Attributes:
        ids: Object array [B] of bytes.
        labels: Object array [B] of bytes.
        splits: Object array [B] of str.
        pixels: uint64 [B, 2], see `Looks`.
        words: uint16 [B, 9], likewise.
        shifted: uint16 [B, 5, 9], likewise.
        blank: bool [B], likewise: blank images look like each other, and like nothing else.
    """

    ids: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    pixels: np.ndarray
    words: np.ndarray
    shifted: np.ndarray
    blank: np.ndarray

    def take(self, rows: np.ndarray) -> Sightings:
        """Some of the rows, by number or mask."""
        return Sightings(*(column[rows] for column in self))

    def sorted(self) -> Sightings:
        """By id, so that the order in which rows arrived leaves no trace."""
        return self.take(np.lexsort((self.splits.astype(str), self.ids)))


def join_sightings(parts: Iterable[Sightings]) -> Sightings:
    """Joins rows and sorts them by id; at least one part."""
    return Sightings(*map(np.concatenate, zip(*parts, strict=True))).sorted()
