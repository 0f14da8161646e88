"""From the shards of a gallery to the files of its index."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tfx.utils import io_utils

from components.index_gen.reading import KEPT
from modules.index import (
    VECTOR,
    IndexDescription,
    TunedIndex,
    Vectors,
    choose_index,
    write_index,
)
from modules.settings import IndexSettings

_BATCH = 1024  # rows of a record batch


class Assembled(NamedTuple):
    """What was written.

    Attributes:
        tuned: The index and what is known of it.
        images: Rows of the gallery.
        kept: Of these, rows whose vectors an earlier gallery had.
    """

    tuned: TunedIndex
    images: int
    kept: int


def assemble(
    shards: str,
    output: str,
    settings: IndexSettings,
    fingerprint: str,
    source: str,
) -> Assembled:
    """Chooses an index, fills it shard by shard, and writes its files.

    Args:
        shards: Folder of the files of `write_shards`.
        output: Folder for the files of the index.
        settings: `[index]`.
        fingerprint: Of the model; also in the metadata of the Parquet schema, as `model`.
        source: Where the gallery came from, for people.
    """
    with _local_copy(shards) as local, _local_output(output) as folder:
        files = sorted(local.glob("*.parquet"))
        sizes = [pq.read_metadata(file).num_rows for file in files]
        schema = pq.read_schema(files[0])
        schema = schema.remove(schema.get_field_index(KEPT))
        schema = schema.with_metadata({"model": fingerprint})
        dimension = schema.field(VECTOR).type.list_size
        vectors = Vectors(sizes, dimension, lambda part: _vectors(files[part], dimension))
        tuned = choose_index(vectors, settings)
        kept = sum(pq.read_table(file, columns=[KEPT])[KEPT].to_numpy().sum() for file in files)
        # Without the latency, which differs each time: the same gallery has the same files, and a
        # push of them makes no new version.
        description = IndexDescription(
            model=fingerprint,
            images=len(vectors),
            dimension=dimension,
            kind=tuned.kind,
            storage=tuned.storage,
            parameters=tuned.parameters,
            k=tuned.k,
            recall=tuned.recall,
            source=source,
        )
        rows = pa.RecordBatchReader.from_batches(schema, _batches(files, schema))
        write_index(str(folder), rows, tuned.index, description)
    return Assembled(tuned, len(vectors), int(kept))


def _vectors(file: Path, dimension: int) -> np.ndarray:
    column = pq.read_table(file, columns=[VECTOR], memory_map=True)[VECTOR].combine_chunks()
    found: np.ndarray = column.flatten().to_numpy().reshape(-1, dimension)
    return found


def _batches(files: list[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for file in files:
        table = pq.read_table(file, columns=schema.names, memory_map=True)
        yield from table.select(schema.names).cast(schema).to_batches(_BATCH)


@contextlib.contextmanager
def _local_copy(folder: str) -> Iterator[Path]:
    """Files of an object store, where they can be mapped into memory."""
    if "://" not in folder:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as local:
        io_utils.copy_dir(folder, f"{local}/shards")
        yield Path(local, "shards")


@contextlib.contextmanager
def _local_output(folder: str) -> Iterator[Path]:
    """A folder that is copied to an object store in the end."""
    if "://" not in folder:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as local:
        yield Path(local)
        for file in sorted(Path(local).iterdir()):
            io_utils.copy_file(str(file), f"{folder}/{file.name}")
