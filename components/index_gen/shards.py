"""The gallery, ordered by id, in Parquet files that one process can read one after the other."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.index_gen.earlier import SharedEarlier
from components.index_gen.reading import KEPT, EmbedFile, Plan
from modules.contract import ID, LABEL
from modules.index import IMAGE_HASH, THUMBNAIL, VECTOR, gallery_schema
from modules.models import SharedEmbedder
from modules.retrieval import LabelledRows, OrderById
from modules.storage import write_file

SHARD_ROWS = 16_384
_ARROW = {tf.string: pa.binary(), tf.int64: pa.int64(), tf.float32: pa.float32()}


def write_shards(
    pipeline: beam.Pipeline,
    files: Sequence[str],
    plan: Plan,
    model: str,
    earlier: str | None,
    folder: str,
) -> None:
    """Adds everything to a pipeline: reading, embedding, ordering by id, writing.

    A worker holds some hundred images, and one shard; the vectors of all go through one shuffle.

    Args:
        pipeline: Pipeline to add to.
        files: Paths of gzipped TFRecord files of examples, at least one.
        plan: What is done with each image.
        model: Folder of a SavedModel.
        earlier: `gallery.parquet` of an index of the same model; None for none.
        folder: Existing folder, reached by all workers, for files `NUMBER.parquet` of up to 16,384
            rows; in the order of their names they are the gallery.
    """
    known = SharedEarlier(earlier) if earlier else None
    _ = (
        pipeline
        | "Files" >> beam.Create(sorted(files), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "EmbedFile" >> beam.ParDo(EmbedFile(plan, SharedEmbedder(model), known))
        | "OrderById" >> OrderById("gallery images", SHARD_ROWS)
        | "WriteShard" >> beam.ParDo(_WriteShard(plan, known, folder))
    )


def schema_of(plan: Plan, dimension: int) -> pa.Schema:
    """The columns of the gallery."""
    further: dict[str, Any] = {name: _ARROW[kind] for name, kind in plan.columns.items()}
    further[IMAGE_HASH] = pa.string()
    if plan.thumbnails:
        further[THUMBNAIL] = pa.binary()
    return gallery_schema(dimension, further)


class _WriteShard(beam.DoFn):
    """(position, rows ordered by id) → a file; yields nothing."""

    def __init__(self, plan: Plan, earlier: SharedEarlier | None, folder: str) -> None:
        self._plan, self._earlier, self._folder = plan, earlier, folder

    def process(self, element: tuple[int, LabelledRows]) -> Iterator[None]:
        position, rows = element
        rows = self._filled(rows)
        vectors = rows.embeddings[""]
        schema = schema_of(self._plan, vectors.shape[1])
        labels = np.array([label or None for label in rows.labels], object)  # of a catalogue
        columns = {ID: rows.ids, LABEL: labels, **rows.features}
        columns[KEPT] = rows.features[KEPT] >= 0
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            if field.name == VECTOR
            else pa.array(columns[field.name].tolist(), field.type)
            for field in schema
        ]
        schema = schema.append(pa.field(KEPT, pa.bool_()))
        table = pa.Table.from_arrays([*arrays, pa.array(columns[KEPT])], schema=schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="none", use_dictionary=False)
        write_file(f"{self._folder}/{position:012d}.parquet", buffer.getvalue())
        yield from ()

    def _filled(self, rows: LabelledRows) -> LabelledRows:
        """With what the earlier gallery has of those rows that were not embedded."""
        kept = rows.features[KEPT]
        there = np.flatnonzero(kept >= 0)
        if not len(there) or self._earlier is None:
            return rows
        wanted = [VECTOR, *([THUMBNAIL] if self._plan.thumbnails else [])]
        # The earlier gallery is in the order of ids, as these rows are.
        table = self._earlier.acquire().read(kept[there], wanted)
        embeddings = rows.embeddings[""].copy()
        column = table[VECTOR].combine_chunks()
        embeddings[there] = column.flatten().to_numpy().reshape(-1, embeddings.shape[1])
        features = dict(rows.features)
        if self._plan.thumbnails:
            features[THUMBNAIL] = features[THUMBNAIL].copy()
            features[THUMBNAIL][there] = table[THUMBNAIL].to_pylist()
        return LabelledRows(rows.ids, rows.labels, {"": embeddings}, features)
