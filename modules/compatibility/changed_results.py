"""Logged queries by two models: another first result, the overlap of the results, and outsiders.

Each model searches in its own gallery of the same images. A query is outside of the gallery's
distribution, by a model, if the nearest image is farther than a quantile of the distances that
images of the gallery have to their own nearest neighbour. So it is near to nothing that is known.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from modules.retrieval import (
    QUERY_ROWS,
    SHARD_ROWS,
    LabelledRows,
    QueryRows,
    SearchTogether,
    Shard,
    blocks_and_shards,
    embedded_rows,
    find_neighbours,
    hash_id,
    temporary_folder,
)
from modules.storage import read_text, write_file

_FILE = "changed.json"
_SAMPLE = 2000  # images of the gallery for its own nearest distances
_LOGGED = "logged"  # feature of a row: 1 if it is a query, 0 if it is of that sample
# Before the ids of logged queries: they are none of the gallery's, be they of the same image.
_PREFIX = b"\x00logged/"


class Found(NamedTuple):
    """What was found for some rows.

    Attributes:
        logged: bool [Q], whether the row is a query or one of the gallery's sample.
        changed: float64 [Q], 1 where the first results differ.
        overlap: float64 [Q].
        nearest: float32 [Q, 2], squared L2 to the nearest, by the old model and the new one.
    """

    logged: np.ndarray
    changed: np.ndarray
    overlap: np.ndarray
    nearest: np.ndarray


class CompareResults(beam.PTransform):
    """{"gallery": LabelledRows, …} → the path of the file that it writes.

    Args:
        old: TFMA's name of the last blessed model.
        new: Of the candidate.
        queries: Makes extracts of the logged queries from the pipeline, such as `EmbedGallery`.
        k: How many results to compare.
        quantile: Of the gallery's own nearest distances.
        folder: Where the figures go; `read_changed_results` reads them.
        embeddings: Where embeddings are stored, as for `ScoreQueries`.
    """

    def __init__(
        self,
        old: str,
        new: str,
        queries: beam.PTransform,
        k: int,
        quantile: float,
        folder: str,
        embeddings: str | None = None,
    ) -> None:
        super().__init__()
        self._old, self._new, self._logged = old, new, queries
        self._k, self._quantile, self._folder = k, quantile, folder
        self._embeddings = embeddings or temporary_folder()

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Searches by both models, compares and writes."""
        gallery = inputs["gallery"]
        logged = (
            gallery.pipeline
            | "Logged" >> self._logged
            | "LoggedRows" >> beam.Map(embedded_rows)
            | "Named" >> beam.Map(_as_queries)
        )
        own = gallery | "Sample" >> beam.CombineGlobally(_SampleFn(_SAMPLE))
        queries = (logged, own) | beam.Flatten()
        bare = gallery | "Bare" >> beam.Map(
            lambda rows: LabelledRows(rows.ids, rows.labels, rows.embeddings)
        )
        blocks, shards = blocks_and_shards(queries, bare, QUERY_ROWS, SHARD_ROWS, self._embeddings)
        search = SearchTogether(partial(_search, (self._old, self._new), self._k), self._embeddings)
        return (
            blocks
            | "Search" >> beam.ParDo(search, beam.pvalue.AsIter(shards))
            | "All" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Write" >> beam.Map(_write, self._k, self._quantile, self._folder)
        )


def _as_queries(rows: LabelledRows) -> LabelledRows:
    ids = np.array([_PREFIX + one for one in rows.ids], object)
    return LabelledRows(ids, rows.labels, rows.embeddings, {_LOGGED: np.ones(len(ids), bool)})


class _SampleFn(beam.CombineFn):
    """The rows whose ids have the smallest hashes: the same ones whatever the runner."""

    def __init__(self, size: int) -> None:
        self._size = size

    def create_accumulator(self) -> list[tuple[int, Any, Any, dict[str, np.ndarray]]]:
        return []

    def add_input(self, kept: list[Any], rows: LabelledRows) -> list[Any]:
        for row, id_ in enumerate(rows.ids):
            # A copy, as a view would keep the whole batch in memory.
            values = {name: of_model[row].copy() for name, of_model in rows.embeddings.items()}
            kept.append((hash_id(id_), id_, rows.labels[row], values))
        return self._smallest(kept)

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        return self._smallest([row for kept in accumulators for row in kept])

    def extract_output(self, kept: list[Any]) -> LabelledRows:
        kept = heapq.nsmallest(self._size, kept, key=lambda row: row[:2])
        _, ids, labels, values = zip(*kept, strict=True)
        return LabelledRows(
            np.array(ids, object),
            np.array(labels, object),
            {name: np.stack([of_row[name] for of_row in values]) for name in values[0]},
            {_LOGGED: np.zeros(len(ids), bool)},
        )

    def _smallest(self, kept: list[Any]) -> list[Any]:
        if len(kept) <= 2 * self._size:
            return kept
        return heapq.nsmallest(self._size, kept, key=lambda row: row[:2])


def _search(
    models: tuple[str, str], k: int, block: QueryRows, gallery: Iterable[Shard]
) -> Iterator[Found]:
    rows = block.rows
    found = [
        find_neighbours(rows.ids, rows.embeddings[model], gallery, k, model=model)
        for model in models
    ]
    (before, _), (now, _) = found
    same = (before[:, :, None] == now[:, None, :]) & (before[:, :, None] >= 0)
    there = np.maximum((now >= 0).sum(axis=1), 1)
    yield Found(
        rows.features[_LOGGED],
        (before[:, 0] != now[:, 0]).astype(np.float64),
        same.any(axis=2).sum(axis=1) / there,
        np.stack([distances[:, 0] for _, distances in found], axis=1),
    )


def _write(parts: list[Found], k: int, quantile: float, folder: str) -> str:
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    found = Found(*columns)
    queries = int(found.logged.sum())
    limits = [_quantile(column, quantile) for column in found.nearest[~found.logged].T]
    of_queries = found.nearest[found.logged]

    def mean(values: np.ndarray) -> float | None:
        return math.fsum(values.tolist()) / queries if queries else None

    # What is no number is near to nothing.
    outside = [mean(~(of_queries[:, i] <= limit)) for i, limit in enumerate(limits)]
    content = {
        "queries": queries,
        "k": k,
        "changed": mean(found.changed[found.logged]),
        "overlap": mean(found.overlap[found.logged]),
        "outside_before": outside[0],
        "outside": outside[1],
        "limit_before": _number(limits[0]),
        "limit": _number(limits[1]),
    }
    path = f"{folder}/{_FILE}"
    write_file(path, json.dumps(content).encode())
    return path


def _quantile(distances: np.ndarray, quantile: float) -> float:
    """One of the distances: the smallest that so large a part of them does not exceed."""
    ordered = np.sort(distances)  # NaN last
    if not len(ordered):
        return math.nan
    return float(ordered[max(0, math.ceil(quantile * len(ordered)) - 1)])


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_changed_results(folder: str) -> dict[str, Any]:
    """Reads what `CompareResults` wrote into a folder: fields of `ChurnReport`."""
    content: dict[str, Any] = json.loads(read_text(f"{folder}/{_FILE}"))
    return content
