"""The gallery as it is embedded, in files, so that Beam shuffles ids and places alone.

A part is an Arrow file with some thousand rows in the order of their ids. A shard is a range of
ids, so its rows are neighbours in each part: that much is read of it, and the file let go. A place
is the number of a part and a row in it.

A file is never written twice. Where a runner repeats a bundle, the second attempt writes files of
its own, and nothing knows those of the first: whoever gave the folder removes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from components.index_gen.reading import KEPT, Plan
from modules.contract import ID, LABEL
from modules.index import IMAGE_HASH, THUMBNAIL, VECTOR, gallery_schema
from modules.retrieval import LabelledRows, concatenate
from modules.storage import SeekableFile, is_remote, write_file

PART_ROWS = 16_384
_TOGETHER = 256  # rows that are read together: what a shard has of a part is about as many
_ARROW = {tf.string: pa.binary(), tf.int64: pa.int64(), tf.float32: pa.float32()}


def schema_of(plan: Plan, dimension: int) -> pa.Schema:
    """The columns of the gallery."""
    further: dict[str, Any] = {name: _ARROW[kind] for name, kind in plan.columns.items()}
    further[IMAGE_HASH] = pa.string()
    if plan.thumbnails:
        further[THUMBNAIL] = pa.binary()
    return gallery_schema(dimension, further)


class WriteParts(beam.DoFn):
    """LabelledRows → LabelledRows of ids, with places for embeddings, in larger pieces.

    Labels are empty, and there are no features: these are in the files too.
    """

    def __init__(self, plan: Plan, folder: str) -> None:
        self._plan, self._folder = plan, folder

    def start_bundle(self) -> None:
        """No part has rows of two bundles."""
        self._waiting: list[LabelledRows] = []

    def process(self, rows: LabelledRows) -> Iterator[LabelledRows]:
        """Writes a part as soon as it is full."""
        self._waiting.append(rows)
        if sum(len(waiting.ids) for waiting in self._waiting) >= PART_ROWS:
            yield self._write()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Writes what is left."""
        if self._waiting:
            yield GlobalWindows.windowed_value(self._write())

    def _write(self) -> LabelledRows:
        rows = concatenate(self._waiting)
        self._waiting = []
        rows = rows.take(np.argsort(rows.ids, kind="stable"))
        vectors = rows.embeddings[""]
        schema = schema_of(self._plan, vectors.shape[1]).append(pa.field(KEPT, pa.int64()))
        schema = schema.remove(schema.get_field_index(ID))
        labels = np.array([label or None for label in rows.labels], object)  # of a catalogue
        columns = {LABEL: labels, **rows.features}
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            if field.name == VECTOR
            else pa.array(columns[field.name].tolist(), field.type)
            for field in schema
        ]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), _TOGETHER)
        number = secrets.randbits(63)
        write_file(_path(self._folder, number), sink.getvalue().to_pybytes())
        places = np.empty((len(rows.ids), 2), np.int64)
        places[:, 0], places[:, 1] = number, np.arange(len(places))
        return LabelledRows(rows.ids, np.full(len(places), b"", object), {"": places})


def read_places(folder: str, places: np.ndarray) -> pa.Table:
    """Reads rows of parts.

    Args:
        folder: Of the parts.
        places: int64 [N, 2], at least one, in the order of their ids.

    Returns:
        The columns of the gallery but for the ids, and `KEPT`, int64: N rows, in that order.
    """
    order = np.argsort(places[:, 0], kind="stable")
    numbers, starts = np.unique(places[order, 0], return_index=True)
    read = [
        _read_rows(_path(folder, number), places[rows, 1])
        for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
    ]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.concat_tables(read).combine_chunks().take(back)


def _read_rows(path: str, rows: np.ndarray) -> pa.Table:
    """Some rows of a part, ascending; nothing of the file stays in memory but these."""
    first, last = rows[0] // _TOGETHER, rows[-1] // _TOGETHER
    source = pa.PythonFile(SeekableFile(path)) if is_remote(path) else pa.memory_map(path)
    with source, pa.ipc.open_file(source) as reader:
        batches = [reader.get_batch(number) for number in range(first, last + 1)]
        return pa.Table.from_batches(batches).take(rows - first * _TOGETHER)


def _path(folder: str, number: int) -> str:
    return f"{folder}/{number:016x}.arrow"
