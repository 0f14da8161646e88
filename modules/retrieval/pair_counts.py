"""Histograms of the distances between queries and gallery rows, for verification."""

from __future__ import annotations

from queue import Empty, SimpleQueue

import numpy as np

from modules.retrieval.search import QueryTile
from modules.retrieval.shards import GalleryTile
from modules.retrieval.verification import add_pairs, new_histogram

_PAIRS_AT_ONCE = 1 << 20  # what a histogram takes at once


class PairCounters:
    """Histograms of pair distances, one for each thread that is at work."""

    def __init__(self) -> None:
        self._idle: SimpleQueue[_PairCounter] = SimpleQueue()
        self._left_out = np.zeros(2, np.int64)

    def leave_out(self, same: int, other: int) -> None:
        """Notes how many visited pairs are no neighbours: of one class, and of two."""
        self._left_out += [same, other]

    def select_and_count(
        self, tile: QueryTile, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray
    ) -> None:
        """Visits as `start_sweep` asks."""
        distances = tile.distances(gallery_tile, own, products.copy())
        tile.select(gallery_tile, own, products)
        try:
            counter = self._idle.get_nowait()
        except Empty:
            counter = _PairCounter()
        counter.add(distances, gallery_tile.classes == tile.classes)
        self._idle.put(counter)

    def total(self) -> np.ndarray:
        """The sum of all histograms; ends the counting."""
        total = new_histogram()
        while not self._idle.empty():
            total += self._idle.get().flushed()
        total[:, -1] -= self._left_out  # their distance was NaN, which has the last bin
        return total


class _PairCounter:
    """A histogram and the pairs that wait for it, since it takes many at once faster than few."""

    def __init__(self) -> None:
        self._histogram = new_histogram()
        self._distances = np.empty(_PAIRS_AT_ONCE, np.float32)
        self._same = np.empty(_PAIRS_AT_ONCE, np.bool_)
        self._filled = 0

    def add(self, distances: np.ndarray, same: np.ndarray) -> None:
        if self._filled + distances.size > _PAIRS_AT_ONCE:
            self.flushed()
        stop = self._filled + distances.size
        self._distances[self._filled : stop].reshape(distances.shape)[:] = distances
        self._same[self._filled : stop].reshape(same.shape)[:] = same
        self._filled = stop

    def flushed(self) -> np.ndarray:
        add_pairs(self._histogram, self._distances[: self._filled], self._same[: self._filled])
        self._filled = 0
        return self._histogram
