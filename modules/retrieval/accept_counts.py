"""Counts of accepted pairs: of each query at the operating point, and by class around it.

The counts by class are what intervals are made of (`modules.retrieval.pair_bootstrap`). Classes are
counted in at most `UNITS` parts of about as many classes, so a table takes 8 MB however many
classes there are; up to `UNITS` classes each is a part of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from modules.retrieval.operating_threshold import OperatingGrid
from modules.retrieval.search import QueryTile
from modules.retrieval.shards import GalleryTile

UNITS = 128
# Columns of the counts of a query: its pairs of one class and of two, and the accepted ones.
PAIR_COUNTS = ("genuine", "impostors", "accepted_genuine", "accepted_impostors")
_KEYS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class AcceptTables:
    """Pairs by the parts of their classes; tables of several blocks of queries are added.

    Attributes:
        grid: The thresholds.
        impostors: int64 [UNITS, UNITS], pairs of two classes: the query's part, the neighbour's.
        genuine: int64 [UNITS], pairs of one class.
        impostor_steps: int64 [UNITS, UNITS, K], those of `impostors` accepted at the k-th threshold
            and at none before it.
        genuine_steps: int64 [UNITS, K], the same of `genuine`.
    """

    grid: OperatingGrid
    impostors: np.ndarray
    genuine: np.ndarray
    impostor_steps: np.ndarray
    genuine_steps: np.ndarray

    def __add__(self, other: AcceptTables) -> AcceptTables:
        """The tables of two blocks of queries, with the same thresholds."""
        return AcceptTables(
            self.grid,
            self.impostors + other.impostors,
            self.genuine + other.genuine,
            self.impostor_steps + other.impostor_steps,
            self.genuine_steps + other.genuine_steps,
        )


def units_of(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The parts that queries are counted in, int64 [Q].

    Args:
        classes: int32 [Q], numbers as in the gallery; below 0 where the gallery lacks the label.
        labels: Object array [Q] of bytes or str; only those that the gallery lacks are looked at.
    """
    units = classes.astype(np.int64) % UNITS
    for row in np.flatnonzero(classes < 0):
        label = labels[row] if isinstance(labels[row], bytes) else labels[row].encode()
        units[row] = zlib.crc32(label) % UNITS
    return units


class AcceptCounters:
    """Counts the accepted pairs of one model and a block of queries.

    Args:
        grid: The thresholds.
        units: As `units_of` gives them, of all queries of the block.
    """

    def __init__(self, grid: OperatingGrid, units: np.ndarray) -> None:
        self._grid, self._units = grid, units
        self._counts = np.zeros((len(units), len(PAIR_COUNTS)), np.int64)
        self._left_out = np.zeros(UNITS, np.int64)
        self._idle: SimpleQueue[_AcceptCounter] = SimpleQueue()

    def start_pass(self, rows: np.ndarray) -> None:
        """Begins a pass; see `modules.retrieval.scores.CountsPairs`."""
        self._rows = rows

    def select_and_count(
        self, tile: QueryTile, gallery_tile: GalleryTile, distances: np.ndarray
    ) -> None:
        """Visits as `sweep` asks."""
        tile.select(gallery_tile, distances)
        try:
            counter = self._idle.get_nowait()
        except Empty:
            counter = _AcceptCounter(self._grid)
        rows = self._rows[tile.rows]
        counts = counter.add(
            distances,
            gallery_tile.classes == tile.classes,
            self._units[rows],
            gallery_tile.classes.astype(np.int64) % UNITS,
        )
        self._counts[rows, 2:] += counts  # each tile is one thread's, so these rows are too
        self._idle.put(counter)

    def end_pass(self, neighbours: np.ndarray, left_out: np.ndarray) -> None:
        """Ends a pass."""
        self._counts[self._rows, :2] = neighbours.T
        # Visited pairs of one class are no impostors; nor is the query itself under another label.
        no_impostors = neighbours[0] + left_out.sum(axis=0)
        np.add.at(self._left_out, self._units[self._rows], no_impostors)

    def total(self) -> AcceptTables:
        """The tables of all visited pairs; ends the counting."""
        total = _AcceptCounter(self._grid)
        while not self._idle.empty():
            total.merge(self._idle.get())
        own = np.arange(UNITS)
        total.visited[own, own] -= self._left_out
        genuine = np.zeros(UNITS, np.int64)
        np.add.at(genuine, self._units, self._counts[:, 0])
        steps = total.steps.reshape(UNITS + 1, UNITS, -1)
        return AcceptTables(self._grid, total.visited, genuine, steps[:UNITS], steps[UNITS])

    def of_queries(self) -> np.ndarray:
        """The counts of each query: int64 [Q, 4], the columns `PAIR_COUNTS`."""
        return self._counts


class _AcceptCounter:
    """What one thread has counted, and the accepted pairs that wait to be."""

    def __init__(self, grid: OperatingGrid) -> None:
        self._bits = grid.edges.view(np.int32)  # not negative: they ascend as the distances do
        self._chosen = grid.chosen
        # Pairs of two classes, then those of one, by the first threshold that accepts them.
        self.steps = np.zeros((UNITS + 1) * UNITS * len(self._bits), np.int64)
        self.visited = np.zeros((UNITS, UNITS), np.int64)
        self._waiting: list[np.ndarray] = []

    def add(
        self, distances: np.ndarray, same: np.ndarray, mine: np.ndarray, theirs: np.ndarray
    ) -> np.ndarray:
        """Counts the pairs of a tile; returns int64 [Q, 2], accepted ones of one class and two."""
        self.visited += np.outer(
            np.bincount(mine, minlength=UNITS), np.bincount(theirs, minlength=UNITS)
        )
        bits = distances.view(np.int32)
        rows, columns = np.divmod(np.flatnonzero(bits < self._bits[-1]), len(theirs))
        steps = np.searchsorted(self._bits, bits[rows, columns], side="right")
        genuine = same[rows, columns]
        # Two classes: a row for the query's part. One class: all parts are one row, the last.
        of_two = mine[rows] * UNITS + theirs[columns]
        units = np.where(genuine, UNITS * UNITS + mine[rows], of_two)
        self._waiting.append(units * len(self._bits) + steps)
        if sum(map(len, self._waiting)) >= _KEYS_AT_ONCE:
            self.flush()
        accepted = np.flatnonzero(steps <= self._chosen)
        counts = np.bincount(rows[accepted] * 2 + 1 - genuine[accepted], minlength=2 * len(mine))
        return counts.reshape(len(mine), 2)

    def flush(self) -> None:
        """Counts what waits."""
        if self._waiting:
            self.steps += np.bincount(np.concatenate(self._waiting), minlength=len(self.steps))
            self._waiting = []

    def merge(self, other: _AcceptCounter) -> None:
        """Adds what another thread has counted."""
        other.flush()
        self.steps += other.steps
        self.visited += other.visited
