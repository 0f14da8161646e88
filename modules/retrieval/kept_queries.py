"""A sample of the scored queries with their nearest neighbours, in a file for people to look at.

The search finds the neighbours anyway; this keeps some of them. Memory and file are bounded: the
queries are those whose ids have the smallest hashes, so the choice does not depend on the runner,
and the rows stand in the order of these hashes: the first n are a sample themselves.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modules.retrieval.keys import unpack, unpack_hits
from modules.retrieval.order import hash_id
from modules.storage import open_file, write_file

QUERIES_FILE = "queries.parquet"  # beside the files of the evaluation
MOST_QUERIES = 20_000
_MODELS = {"": "candidate"}  # TFMA leaves a single model without a name


class Kept(NamedTuple):
    """What to keep.

    Attributes:
        path: Of the file.
        neighbours: How many of each query.
    """

    path: str
    neighbours: int


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Some queries on their way to the file.

    Attributes:
        hashes: uint64 [Q], of the ids.
        ids: Object array [Q] of bytes or str.
        labels: Object array [Q] of bytes or str.
        embeddings: float32 [Q, D], of the candidate.
        keys: int64 [Q, K], its nearest neighbours, see `modules.retrieval.keys`.
        scores: float32 [Q, S] by model name.
    """

    hashes: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray
    keys: np.ndarray
    scores: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> KeptRows:
        """Some of the rows."""
        return KeptRows(
            self.hashes[rows],
            self.ids[rows],
            self.labels[rows],
            self.embeddings[rows],
            self.keys[rows],
            {model: values[rows] for model, values in self.scores.items()},
        )


@dataclass(frozen=True, eq=False)
class KeptQueries:
    """The contents of the file.

    Attributes:
        ids: Object array [N] of bytes.
        labels: Object array [N] of bytes.
        embeddings: float32 [N, D], of the candidate.
        neighbours: Object array [N, K] of ids, nearest first, None where the gallery has no more.
        distances: Squared L2, float32 [N, K], NaN where there is no neighbour.
        hits: bool [N, K], whether the neighbour has the query's label.
        scores: float32 [N] by name by model; `modules.retrieval.definitions` has the names.
    """

    ids: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray
    hits: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]


def make_rows(
    ids: np.ndarray,
    labels: np.ndarray,
    embeddings: Mapping[str, np.ndarray],
    keys: np.ndarray,
    scores: Mapping[str, np.ndarray],
) -> KeptRows:
    """Rows of a block of queries, at most `MOST_QUERIES` of them.

    Args:
        ids: As in KeptRows.
        labels: As in KeptRows.
        embeddings: float32 [Q, D] by TFMA's name of the model.
        keys: Of the candidate, as in KeptRows.
        scores: [Q, S] by TFMA's name of the model.
    """
    rows = KeptRows(
        np.array([hash_id(one) for one in ids], np.uint64),
        ids,
        labels,
        embeddings[candidate_of(embeddings)],
        keys,
        {_model(name): values.astype(np.float32) for name, values in scores.items()},
    )
    return _smallest([rows])


def candidate_of(models: Iterable[str]) -> str:
    """TFMA's name of the candidate among its names of the models."""
    return next(name for name in models if _model(name) == "candidate")


def _model(name: str) -> str:
    return _MODELS.get(name, name)


class WriteKept(beam.PTransform):
    """PCollection of KeptRows → a file.

    Args:
        path: The file.
        names: Names of the columns of the scores.
        gallery_ids: PCollection of (position, ids) of each shard of the gallery.
    """

    def __init__(self, path: str, names: Sequence[str], gallery_ids: beam.PCollection) -> None:
        super().__init__()
        self._path, self._names, self._gallery_ids = path, list(names), gallery_ids

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Samples, looks the names of the neighbours up, and writes."""
        return (
            rows
            | "Sample" >> beam.CombineGlobally(_SampleFn()).without_defaults()
            | "Write"
            >> beam.ParDo(_write, beam.pvalue.AsIter(self._gallery_ids), self._path, self._names)
        )


class _SampleFn(beam.CombineFn):
    def create_accumulator(self) -> list[KeptRows]:
        return []

    def add_input(self, sample: list[KeptRows], rows: KeptRows) -> list[KeptRows]:
        sample.append(rows)
        return self.compact(sample)

    def merge_accumulators(self, samples: Iterable[list[KeptRows]]) -> list[KeptRows]:
        return self.compact([rows for sample in samples for rows in sample])

    def compact(self, sample: list[KeptRows]) -> list[KeptRows]:
        """Cuts what has grown beyond twice its size."""
        if sum(len(rows.ids) for rows in sample) <= 2 * MOST_QUERIES:
            return sample
        return [_smallest(sample)]

    def extract_output(self, sample: list[KeptRows]) -> KeptRows:
        return _smallest(sample)


def _smallest(parts: Sequence[KeptRows]) -> KeptRows:
    """Those with the smallest hashes, in their order."""
    hashes = np.concatenate([part.hashes for part in parts])
    order = np.argsort(hashes, kind="stable")[:MOST_QUERIES]
    models = parts[0].scores
    whole = KeptRows(
        hashes,
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.keys for part in parts]),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in models},
    )
    return whole.take(order)


def _write(
    rows: KeptRows,
    gallery_ids: Iterable[tuple[int, np.ndarray]],
    path: str,
    names: Sequence[str],
) -> Iterable[str]:
    positions, distances = unpack(rows.keys)
    _, hits = unpack_hits(rows.keys)
    neighbours: np.ndarray = np.full(positions.shape, None, object)
    kept = rows.keys.shape[1]
    for first, ids in gallery_ids:
        here = (positions >= first) & (positions < first + len(ids))
        neighbours[here] = ids[positions[here] - first]
    columns = {
        "id": pa.array(map(_encoded, rows.ids), pa.binary()),
        "label": pa.array(map(_encoded, rows.labels), pa.binary()),
        "embedding": _lists(rows.embeddings.ravel(), rows.embeddings.shape[1]),
        "neighbours": _lists(pa.array(map(_encoded, neighbours.ravel()), pa.binary()), kept),
        "distances": _lists(distances.ravel(), kept),
        "hits": _lists(hits.ravel(), kept),
    }
    for model, values in rows.scores.items():
        columns |= {f"{model} {name}": values[:, i] for i, name in enumerate(names)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    write_file(path, buffer.getvalue())
    yield path


def _encoded(text: bytes | str | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text


def _lists(values: np.ndarray | pa.Array, size: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values), size)


def read_kept_queries(path: str) -> KeptQueries:
    """Reads the file.

    Args:
        path: Local, or a URI.

    Raises:
        OSError: It cannot be read; FileNotFoundError if there is none.
    """
    with open_file(path) as file:
        table = pq.read_table(file)

    def matrix(name: str) -> np.ndarray:
        column = table[name].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), column.type.list_size)

    plain = {"id", "label", "embedding", "neighbours", "distances", "hits"}
    scores: dict[str, dict[str, np.ndarray]] = {}
    for name in table.column_names:
        if name not in plain:
            model, _, score = name.partition(" ")
            scores.setdefault(model, {})[score] = table[name].to_numpy()
    return KeptQueries(
        table["id"].to_numpy(zero_copy_only=False),
        table["label"].to_numpy(zero_copy_only=False),
        matrix("embedding"),
        matrix("neighbours"),
        matrix("distances"),
        matrix("hits"),
        scores,
    )
