"""Embeddings in files, so that Beam shuffles and keeps only ids, labels and where they are.

Between the stages of a search the `embeddings` of rows, blocks and shards are places: by model name
int64 [N, 2], the number of a file and a row in it. The files are mapped into memory and only read,
so worker processes of one machine share them, and what memory does not hold stays on the disk.

A file is never written twice. Where a runner repeats a bundle, the second attempt writes files of
its own, and nothing knows those of the first: whoever gave the folder removes it.
"""

from __future__ import annotations

import atexit
import functools
import io
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from modules.retrieval.rows import LabelledRows, QueryRows, concatenate
from modules.retrieval.shards import Shard
from modules.storage import is_remote, write_file

_FILE_VALUES = 1 << 21  # in the embeddings of one file: 8 MB

_Stored = TypeVar("_Stored", LabelledRows, Shard)


class StoreEmbeddings(beam.PTransform):
    """PCollection of LabelledRows → the same in larger parts, with places for embeddings.

    Args:
        folder: Where all workers reach the files: local, or a URI that TensorFlow can write to. It
            need not exist. Whoever gives it removes it. `temporary_folder()` is one for workers on
            this machine.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Writes the embeddings."""
        return rows | beam.ParDo(_Store(self._folder)).with_output_types(LabelledRows)


class _Store(beam.DoFn):
    """Writes on a thread of its own while the next rows are made."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._waiting: list[LabelledRows] = []
        self._writer = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def process(self, rows: LabelledRows) -> Iterator[LabelledRows]:
        self._waiting.append(rows)
        if sum(map(values_of, self._waiting)) >= _FILE_VALUES:
            yield self._write()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._waiting:
            yield GlobalWindows.windowed_value(self._write())
        if self._written:
            self._written.result()  # the next stage reads the files
        self._writer.shutdown()

    def _write(self) -> LabelledRows:
        rows = concatenate(self._waiting)
        self._waiting = []
        if self._written:
            self._written.result()  # no more than one file for each model waits
        places, files = {}, {}
        for model, values in rows.embeddings.items():
            number = secrets.randbits(63)
            files[_path(self._folder, number)] = values
            places[model] = np.empty((len(values), 2), np.int64)
            places[model][:, 0], places[model][:, 1] = number, np.arange(len(values))
        self._written = self._writer.submit(_save_all, files)
        return replace(rows, embeddings=places)


def values_of(rows: LabelledRows) -> int:
    """How many numbers the embeddings are."""
    return sum(values.size for values in rows.embeddings.values())


@functools.cache
def temporary_folder() -> str:
    """A folder on this machine, removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="embeddings-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _path(folder: str, number: int) -> str:
    return f"{folder}/{number:016x}.npy"


def _save_all(files: dict[str, np.ndarray]) -> None:
    for path, values in files.items():
        _save(path, values)


def _save(path: str, values: np.ndarray) -> None:
    if is_remote(path):
        buffer = io.BytesIO()
        np.save(buffer, values)
        write_file(path, buffer.getvalue())
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("xb") as file:
        np.save(file, values)


class EmbeddingFiles:
    """Reads what `StoreEmbeddings` has written; files stay mapped as long as this lives.

    Args:
        folder: As for `StoreEmbeddings`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._mapped: dict[int, np.ndarray] = {}

    def load(self, stored: _Stored) -> _Stored:
        """The same rows with their embeddings, float32 [N, D] by model name."""
        loaded = {model: self._read(places) for model, places in stored.embeddings.items()}
        return replace(stored, embeddings=loaded)

    def load_queries(self, block: QueryRows) -> QueryRows:
        """The same block with the embeddings of its rows."""
        return replace(block, rows=self.load(block.rows))

    def _read(self, places: np.ndarray) -> np.ndarray:
        order = np.argsort(places[:, 0], kind="stable")
        numbers, starts = np.unique(places[order, 0], return_index=True)
        parts = np.split(order, starts[1:])
        files = [self._map(number) for number in numbers.tolist()]
        result = np.empty((len(places), files[0].shape[1]), np.float32)
        for file, part in zip(files, parts, strict=True):
            result[part] = file[places[part, 1]]
        return result

    def _map(self, number: int) -> np.ndarray:
        if number not in self._mapped:
            self._mapped[number] = _open(_path(self._folder, number))
        return self._mapped[number]


def _open(path: str) -> np.ndarray:
    if not is_remote(path):
        return np.load(path, mmap_mode="r")
    import tensorflow as tf

    with tempfile.NamedTemporaryFile() as local:  # what is mapped stays when the name is gone
        tf.io.gfile.copy(path, local.name, overwrite=True)
        return np.load(local.name, mmap_mode="r")


@dataclass(frozen=True)
class StoredGallery:
    """Shards of a gallery with their embeddings, each read when it is its turn.

    Attributes:
        shards: With places for embeddings.
        files: Where these are.
    """

    shards: Iterable[Shard]
    files: EmbeddingFiles

    def __iter__(self) -> Iterator[Shard]:
        return map(self.files.load, self.shards)
