"""Scores of a block of queries; `modules.retrieval.definitions` says what each of them is.

The R nearest neighbours of a query are kept even where R is very large: counting the ranks of the
R relevant rows by binary search takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from modules.retrieval.definitions import COUNTS, score_names
from modules.retrieval.first_hits import find_first_hits
from modules.retrieval.hit_scores import reciprocal_ranks, score_hits
from modules.retrieval.keys import NOTHING, unpack_hits
from modules.retrieval.mean_distances import MeanDistances
from modules.retrieval.search import (
    QueryTile,
    Visit,
    call_after,
    finish,
    query_tiles,
    search_threads,
    start_sweep,
)
from modules.retrieval.shards import GalleryTile, Shard, tiles_of

if TYPE_CHECKING:  # training scores its validation part without them
    from modules.retrieval.accept_counts import AcceptTables

_KEPT = 1 << 25  # neighbours kept at once, 8 bytes each; more queries wait for another pass


@dataclass(frozen=True, eq=False)
class QueryBlock:
    """Queries, in any order.

    Attributes:
        ids: Object array [Q] of bytes or str. A gallery row with the same id is no neighbour.
        classes: int32 [Q], numbers as in the gallery; below 0 where the gallery lacks the label.
        members: int64 [Q], how many gallery rows have the query's class, itself included.
        embeddings: float32 [Q, D] by model name.
        groups: int32 [Q, C], −1 for none: gallery rows of the same group are no neighbours, see
            `modules.retrieval.groups`. None if the gallery has no groups either.
    """

    ids: np.ndarray
    classes: np.ndarray
    members: np.ndarray
    embeddings: dict[str, np.ndarray]
    groups: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class BlockScores:
    """What one model's embeddings give.

    Attributes:
        scores: float64 [Q, S], the columns `score_names(ks)` and `COUNTS`.
        pairs: What `count_pairs` of `score_block` has counted: every query with each of its
            neighbours; None if not asked for.
        accepts: int64 [Q, 4], the columns `accept_counts.PAIR_COUNTS`; None if not asked for.
        nearest: Keys of the nearest neighbours, int64 [Q, keep], `NOTHING` behind the last; None if
            not asked for.
    """

    scores: np.ndarray
    pairs: np.ndarray | AcceptTables | None
    accepts: np.ndarray | None = None
    nearest: np.ndarray | None = None


class CountsPairs(Protocol):
    """Counts all pairs of a query and a gallery row: `modules.retrieval.pair_counts`."""

    def start_pass(self, rows: np.ndarray) -> None:
        """Begins a pass through the gallery with some queries of the block: int64 [Q]."""

    def end_pass(self, neighbours: np.ndarray, left_out: np.ndarray) -> None:
        """Notes what the pass has visited.

        Args:
            neighbours: int64 [2, Q], how many neighbours of one class they have, and of two.
            left_out: int64 [2, Q], visited pairs that are no neighbours; their distance is NaN.
        """

    def select_and_count(
        self, tile: QueryTile, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray
    ) -> None:
        """Visits as `start_sweep` asks, and keeps the nearest rows as `QueryTile.select` does."""

    def total(self) -> np.ndarray | AcceptTables:
        """Ends the counting and returns the counts."""

    def of_queries(self) -> np.ndarray | None:
        """The counts of each query, if it has some."""


def score_block(
    block: QueryBlock,
    gallery: Iterable[Shard],
    ks: Sequence[int],
    *,
    count_pairs: Callable[[str], CountsPairs] | None = None,
    keep: int = 0,
) -> dict[str, BlockScores]:
    """Searches the gallery for every query and scores what is found.

    Memory holds three shards and as many neighbours as the scores look at, at most 2²⁵ of them in
    one pass through the gallery. It never holds the gallery or the matrix of distances.

    Args:
        block: The queries.
        gallery: Its shards, in any order; gone through again where one pass is not enough.
        ks: The values of k.
        count_pairs: Makes what also counts the pairs of one model, by its name; None for no
            counting.
        keep: How many nearest neighbours to return.

    Returns:
        The scores by model name.
    """
    depths = np.maximum(max(*ks, keep), block.members)
    order = np.argsort(-depths, kind="stable")
    of_pass = np.cumsum(depths[order]) // _KEPT
    searches = [
        _Search(block, model, ks, count_pairs and count_pairs(model), keep)
        for model in block.embeddings
    ]
    with search_threads() as pool:
        for number in np.unique(of_pass):
            rows = order[of_pass == number]
            for search in searches:
                search.start(rows, depths[rows])
            at_work: list[Future[None]] = []
            for shard in gallery:  # the next is read while the last is at work
                own = shard.rows_of(block.ids[rows])
                started = [
                    future for search in searches for future in search.start_shard(shard, own, pool)
                ]
                finish(at_work)
                at_work = started
            finish(at_work)
            for search in searches:
                search.finish(gallery, pool)
    return {search.model: search.result() for search in searches}


class _Search:
    """One model's search: passes of some queries each, and the scores of all."""

    def __init__(
        self,
        block: QueryBlock,
        model: str,
        ks: Sequence[int],
        pairs: CountsPairs | None,
        keep: int,
    ) -> None:
        self.model = model
        self._ids, self._classes, self._ks = block.ids, block.classes, ks
        self._groups = block.groups
        self._embeddings = block.embeddings[model]
        self._names = [*score_names(ks), *COUNTS]
        self._scores = np.full((len(block.ids), len(self._names)), np.nan)
        self._pairs = pairs
        self._nearest = np.full((len(block.ids), keep), NOTHING)

    def start(self, rows: np.ndarray, depths: np.ndarray) -> None:
        """Begins a pass with some of the queries."""
        self._rows = rows
        embeddings, classes = self._embeddings[rows], self._classes[rows]
        groups = None if self._groups is None else self._groups[rows]
        self._tiles = query_tiles(embeddings, classes, depths, groups)
        self._means = MeanDistances(embeddings, classes, groups)
        self._adding: Future[None] | None = None
        if self._pairs is not None:
            self._pairs.start_pass(rows)

    def start_shard(
        self, shard: Shard, own: np.ndarray, pool: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Begins to compare this pass's queries with a shard; `own` as in `start_sweep`."""
        visit: Visit = QueryTile.select
        if self._pairs is not None:
            visit = self._pairs.select_and_count
        embeddings = shard.embeddings[self.model]
        self._adding = pool.submit(
            call_after,  # one shard after the other, since sums of floats depend on the order
            self._adding,
            self._means.add,
            embeddings,
            shard.classes,
            own,
            shard.groups,
        )
        tiles = tiles_of(shard, self.model)
        return [self._adding, *start_sweep(self._tiles, tiles, own, visit, pool)]

    def finish(self, gallery: Iterable[Shard], pool: ThreadPoolExecutor) -> None:
        """Scores this pass's queries."""
        if self._pairs is not None:
            self._pairs.end_pass(self._means.counts, self._means.left_out)
        relevant = self._means.counts[0]
        scores = np.empty((len(self._rows), len(self._names)))

        def score(tile: QueryTile) -> None:
            keys = tile.neighbours()
            distances, hits = unpack_hits(keys)
            kept = keys[:, : self._nearest.shape[1]]
            self._nearest[self._rows[tile.rows], : kept.shape[1]] = kept
            scores[tile.rows, : -2 - len(COUNTS)] = score_hits(
                distances, hits, tile.beyond(), relevant[tile.rows], self._ks
            )

        for _ in pool.map(score, self._tiles):
            pass
        column = {name: scores[:, i] for i, name in enumerate(self._names)}
        late = np.flatnonzero((column["mrr"] == 0) & (relevant > 0))
        if late.size:
            rows = self._rows[late]
            column["mrr"][late] = reciprocal_ranks(
                *find_first_hits(
                    gallery,
                    self.model,
                    self._ids[rows],
                    self._embeddings[rows],
                    self._classes[rows],
                    pool,
                    None if self._groups is None else self._groups[rows],
                )
            )
        column["d_ap"][:], column["d_an"][:] = self._means.values()
        excluded = relevant == 0
        scores[excluded] = np.nan
        column["queries"][:] = 1
        column["excluded_queries"][:] = excluded
        finite = np.isfinite(self._embeddings[self._rows]).all(axis=1)
        column["non_finite_embeddings"][:] = ~finite
        self._scores[self._rows] = scores

    def result(self) -> BlockScores:
        """The scores of all passes."""
        nearest = self._nearest if self._nearest.size else None
        if self._pairs is None:
            return BlockScores(self._scores, None, nearest=nearest)
        return BlockScores(self._scores, self._pairs.total(), self._pairs.of_queries(), nearest)
