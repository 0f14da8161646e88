"""The gallery, ordered by id, in Parquet files that one process can read one after the other."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.index_gen.earlier import SharedEarlier
from components.index_gen.parts import WriteParts, read_places, schema_of
from components.index_gen.reading import KEPT, EmbedFile, Plan
from modules.contract import ID
from modules.index import THUMBNAIL, VECTOR
from modules.models import SharedEmbedder
from modules.retrieval import LabelledRows, OrderById
from modules.storage import write_file

SHARD_ROWS = 16_384


def write_shards(
    pipeline: beam.Pipeline,
    files: Sequence[str],
    plan: Plan,
    model: str,
    earlier: str | None,
    folder: str,
    parts: str,
) -> None:
    """Adds everything to a pipeline: reading, embedding, ordering by id, writing.

    A worker holds a part or a shard, of 16,384 rows each. What Beam shuffles, and in process keeps,
    is the id of each image and its place in a part.

    Args:
        pipeline: Pipeline to add to.
        files: Paths of gzipped TFRecord files of examples, at least one.
        plan: What is done with each image.
        model: Folder of a SavedModel.
        earlier: `gallery.parquet` of an index of the same model; None for none.
        folder: Existing folder, reached by all workers, for files `NUMBER.parquet` of up to 16,384
            rows; in the order of their names they are the gallery.
        parts: Folder, reached by all workers, for files that nobody needs in the end.
    """
    known = SharedEarlier(earlier) if earlier else None
    _ = (
        pipeline
        | "Files" >> beam.Create(sorted(files), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "EmbedFile" >> beam.ParDo(EmbedFile(plan, SharedEmbedder(model), known))
        | "WriteParts" >> beam.ParDo(WriteParts(plan, parts)).with_output_types(LabelledRows)
        | "OrderById" >> OrderById("gallery images", SHARD_ROWS)
        | "WriteShard" >> beam.ParDo(_WriteShard(plan, known, folder, parts))
    )


class _WriteShard(beam.DoFn):
    """(position, ids in order with their places) → a file; yields nothing."""

    def __init__(self, plan: Plan, earlier: SharedEarlier | None, folder: str, parts: str) -> None:
        self._plan, self._earlier, self._folder, self._parts = plan, earlier, folder, parts

    def process(self, element: tuple[int, LabelledRows]) -> Iterator[None]:
        position, rows = element
        found = self._filled(read_places(self._parts, rows.embeddings[""]))
        columns = {name: found[name] for name in found.column_names}
        columns[ID] = pa.array(rows.ids.tolist(), pa.binary())
        columns[KEPT] = pc.greater_equal(found[KEPT], 0)
        dimension = found.schema.field(VECTOR).type.list_size
        schema = schema_of(self._plan, dimension).append(pa.field(KEPT, pa.bool_()))
        table = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="none", use_dictionary=False)
        write_file(f"{self._folder}/{position:012d}.parquet", buffer.getvalue())
        yield from ()

    def _filled(self, rows: pa.Table) -> pa.Table:
        """With what the earlier gallery has of those rows that were not embedded."""
        kept = rows[KEPT].to_numpy()
        there = kept >= 0
        if not there.any() or self._earlier is None:
            return rows
        wanted = [VECTOR, *([THUMBNAIL] if self._plan.thumbnails else [])]
        # The earlier gallery is in the order of ids, as these rows are.
        table = self._earlier.acquire().read(kept[there], wanted)
        vectors = _matrix(rows[VECTOR]).copy()
        vectors[there] = _matrix(table[VECTOR])
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        filled = rows.set_column(rows.column_names.index(VECTOR), VECTOR, lists)
        if self._plan.thumbnails:
            pictures = rows[THUMBNAIL].to_numpy().copy()
            pictures[there] = table[THUMBNAIL].to_pylist()
            column = pa.array(pictures, pa.binary())
            filled = filled.set_column(rows.column_names.index(THUMBNAIL), THUMBNAIL, column)
        return filled


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Vectors, float32 [N, D]."""
    lists = column.combine_chunks()
    found: np.ndarray = lists.flatten().to_numpy().reshape(len(lists), -1)
    return found
