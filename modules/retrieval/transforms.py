"""Exact retrieval in Beam: galleries and query sets larger than the memory of a worker.

Blocks of queries are the work to spread. The blocks that a worker has go through all shards
together, one shard after the other, since to read the gallery and to prepare it costs as much for
one block as for many. The other way round, with shards as the work and candidates merged per query,
each shard would be searched without the limit that the shards before it gave, and max(k, R)
candidates per query and shard would cross a shuffle.

The shards are a side input, but for their embeddings, which all workers read from files
(`modules.retrieval.embedding_files`): Beam would copy the gallery from stage to stage, and keep it.

Memory of a worker: the names of the labels with a number each, the queries that go together, what
the runner keeps of ids and labels, and the neighbours of `modules.retrieval.scores.score_block`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np

from modules.retrieval.accept_counts import AcceptCounters, units_of
from modules.retrieval.definitions import COUNTS, score_names
from modules.retrieval.embedding_files import temporary_folder
from modules.retrieval.kept_queries import Kept, KeptRows, WriteKept, candidate_of, make_rows
from modules.retrieval.operating_threshold import OperatingGrid, find_grid
from modules.retrieval.order import EVALUATED, blocks_and_shards
from modules.retrieval.pair_counts import PairCounters, count_block_pairs
from modules.retrieval.rows import LabelledRows, QueryRows
from modules.retrieval.scores import BlockScores, CountsPairs, QueryBlock, score_block
from modules.retrieval.shards import Shard
from modules.retrieval.together import SearchTogether
from modules.runtime import work_done

SHARD_ROWS = 16_384
QUERY_ROWS = 4096


@dataclass(frozen=True, eq=False)
class ScoredQueries:
    """Queries that went through the gallery together, with their scores.

    Attributes:
        queries: Ordered by id.
        by_model: float64 [Q, S] with the columns `score_names(ks)` and `COUNTS`, and what was
            counted of the pairs, by model name.
    """

    queries: LabelledRows
    by_model: dict[str, BlockScores]


class ScoreQueries(beam.PTransform):
    """PCollection of LabelledRows (queries) → PCollection of ScoredQueries.

    Args:
        ks: The values of k.
        gallery: PCollection of LabelledRows with the same models. Default: the queries themselves.
        verification: Also count all pairs by distance.
        false_accept_rate: Count them before, for the threshold at this rate, and then by query and
            by class what it accepts: `modules.retrieval.accept_counts`. Needs `verification`.
        exclude_same: Names of features. What has the query's label and the same value of one of
            them is no neighbour, see `modules.retrieval.groups`.
        kept: Also write a sample of the queries with their neighbours to a file.
        query_rows: How many queries are one unit of work for a runner.
        shard_rows: How many rows of the gallery are read at once.
        folder: As for `StoreEmbeddings`. Default: `temporary_folder()`.

    Raises:
        ValueError: At run time: no queries, no gallery, a repeated id in either.
    """

    def __init__(
        self,
        ks: Sequence[int],
        gallery: beam.PCollection | None = None,
        *,
        verification: bool = False,
        false_accept_rate: float | None = None,
        exclude_same: Sequence[str] = (),
        kept: Kept | None = None,
        query_rows: int = QUERY_ROWS,
        shard_rows: int = SHARD_ROWS,
        folder: str | None = None,
    ) -> None:
        super().__init__()
        self._ks, self._gallery, self._verification = list(ks), gallery, verification
        self._kept = kept
        self._exclude_same, self._rate = list(exclude_same), false_accept_rate
        self._query_rows, self._shard_rows = query_rows, shard_rows
        self._folder = folder or temporary_folder()

    def expand(self, queries: beam.PCollection) -> beam.PCollection:
        """Searches each block of queries in the whole gallery."""
        blocks, shards = blocks_and_shards(
            queries,
            self._gallery,
            self._query_rows,
            self._shard_rows,
            self._folder,
            self._exclude_same,
        )
        gallery, grids = beam.pvalue.AsIter(shards), None
        if self._rate is not None:
            grids = beam.pvalue.AsSingleton(
                blocks
                | "CountPairs" >> beam.ParDo(SearchTogether(_count_pairs, self._folder), gallery)
                | "AddPairs" >> beam.CombinePerKey(sum)
                | "FindThreshold" >> beam.Map(_grid, self._rate)
                | "OfModels" >> beam.CombineGlobally(beam.combiners.ToDictCombineFn())
            )
        keep = self._kept.neighbours if self._kept else 0
        search = partial(_score, self._ks, self._verification, keep)
        score = SearchTogether(search, self._folder)
        scored = blocks | "Score" >> beam.ParDo(score, gallery, grids)
        if self._kept:
            ids = shards | "Ids" >> beam.Map(lambda shard: (shard.position, shard.ids))
            names = [*score_names(self._ks), *COUNTS]
            kept = scored | "Kept" >> beam.Map(_kept_rows)
            _ = kept | "Keep" >> WriteKept(self._kept.path, names, ids)
        return scored


def _count_pairs(block: QueryRows, gallery: Iterable[Shard]) -> Iterator[tuple[str, np.ndarray]]:
    """The histogram of the pairs of some queries, by model name."""
    yield from count_block_pairs(_queries(block), gallery).items()


def _grid(of_model: tuple[str, np.ndarray], rate: float) -> tuple[str, OperatingGrid]:
    model, histogram = of_model
    return model, find_grid(histogram, rate)


def _score(
    ks: Sequence[int],
    verification: bool,
    keep: int,
    block: QueryRows,
    gallery: Iterable[Shard],
    grids: Mapping[str, OperatingGrid] | None,
) -> Iterator[ScoredQueries]:
    rows = block.rows
    count_pairs: Callable[[str], CountsPairs] | None = None
    if grids is not None:
        units = units_of(block.classes, rows.labels)

        def count_pairs(model: str) -> CountsPairs:
            return AcceptCounters(grids[model], units)

    elif verification:

        def count_pairs(model: str) -> CountsPairs:
            return PairCounters()

    scores = score_block(_queries(block), gallery, ks, count_pairs=count_pairs, keep=keep)
    work_done.add(EVALUATED, len(rows.ids))
    yield ScoredQueries(rows, scores)


def _kept_rows(scored: ScoredQueries) -> KeptRows:
    rows, by_model = scored.queries, scored.by_model
    nearest = by_model[candidate_of(by_model)].nearest
    assert nearest is not None  # it was asked for
    scores = {name: of_model.scores for name, of_model in by_model.items()}
    return make_rows(rows.ids, rows.labels, rows.embeddings, nearest, scores)


def _queries(block: QueryRows) -> QueryBlock:
    rows = block.rows
    return QueryBlock(rows.ids, block.classes, block.members, rows.embeddings, block.groups)
