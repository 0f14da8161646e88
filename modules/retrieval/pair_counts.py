"""Histograms of the distances between queries and gallery rows, for verification."""

from __future__ import annotations

from collections.abc import Iterable
from queue import Empty, SimpleQueue

import numpy as np

from modules.retrieval.mean_distances import MeanDistances
from modules.retrieval.scores import QueryBlock
from modules.retrieval.search import QueryTile, query_tiles, search_threads, sweep
from modules.retrieval.shards import GalleryTile, Shard, tiles_of
from modules.retrieval.verification import add_pairs, new_histogram

_PAIRS_AT_ONCE = 1 << 20  # what a histogram takes at once


def count_block_pairs(block: QueryBlock, gallery: Iterable[Shard]) -> dict[str, np.ndarray]:
    """Counts the pairs of queries with their neighbours, and nothing else.

    Args:
        block: The queries.
        gallery: Its shards, in any order.

    Returns:
        A histogram by model name, as `modules.retrieval.verification.new_histogram` makes it.
    """
    shallow = np.ones(len(block.ids), np.int64)  # no neighbour is kept
    tiles = {
        model: query_tiles(embeddings, block.classes, shallow, block.groups)
        for model, embeddings in block.embeddings.items()
    }
    counters = {model: PairCounters() for model in tiles}
    any_model = next(iter(tiles))
    means = MeanDistances(block.embeddings[any_model], block.classes, block.groups)
    with search_threads() as pool:
        for shard in gallery:
            own = shard.rows_of(block.ids)
            means.add(shard.embeddings[any_model], shard.classes, own, shard.groups)
            for model, of_model in tiles.items():
                sweep(of_model, tiles_of(shard, model), own, counters[model].count, pool)
    for counter in counters.values():
        counter.end_pass(means.counts, means.left_out)
    return {model: counter.total() for model, counter in counters.items()}


class PairCounters:
    """Histograms of pair distances, one for each thread that is at work."""

    def __init__(self) -> None:
        self._idle: SimpleQueue[_PairCounter] = SimpleQueue()
        self._left_out = np.zeros(2, np.int64)

    def start_pass(self, rows: np.ndarray) -> None:
        """Nothing is counted by query."""

    def end_pass(self, neighbours: np.ndarray, left_out: np.ndarray) -> None:
        """Ends a pass; see `modules.retrieval.scores.CountsPairs`."""
        self._left_out += left_out.sum(axis=1)

    def select_and_count(
        self, tile: QueryTile, gallery_tile: GalleryTile, distances: np.ndarray
    ) -> None:
        """Visits as `sweep` asks, and keeps the nearest rows as `QueryTile.select` does."""
        tile.select(gallery_tile, distances)
        self.count(tile, gallery_tile, distances)

    def count(self, tile: QueryTile, gallery_tile: GalleryTile, distances: np.ndarray) -> None:
        """Visits as `sweep` asks."""
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

    def of_queries(self) -> None:
        """Nothing is counted by query."""


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
