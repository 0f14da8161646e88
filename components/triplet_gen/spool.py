"""Rows on disk between the steps of the Beam pipeline.

What crosses a shuffle lies in the memory of a runner in one process. So the images stay in files
beside the output, and only the place of each piece is shuffled.
"""

from __future__ import annotations

import pickle
import uuid
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import tensorflow as tf

from components.triplet_gen.rows import Rows, as_column


class Segment(NamedTuple):
    """Where some rows lie: `length` bytes from `offset` on in the file `path`."""

    path: str
    offset: int
    length: int


class SegmentWriter:
    """Writes segments to a new file of a folder, under a name that no other attempt has.

    The file appears with the first segment. It is complete, and its segments may be read, once the
    `with` block is left.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{uuid.uuid4().hex}"
        self._file: tf.io.gfile.GFile | None = None
        self._offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def write(self, rows: Rows) -> Segment:
        """Appends rows and returns where they are."""
        if not self._file:
            self._file = tf.io.gfile.GFile(self._path, "wb")
        columns = (rows.labels.tolist(), rows.ids.tolist(), rows.images.tolist())
        data = pickle.dumps((rows.digests.tobytes(), rows.repeats.tobytes(), *columns), 5)
        self._file.write(data)
        segment = Segment(self._path, self._offset, len(data))
        self._offset += len(data)
        return segment


def read_segment(segment: Segment) -> Rows:
    """Reads back what `SegmentWriter.write` wrote."""
    path, offset, length = segment
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(offset)
        digests, repeats, *columns = pickle.loads(file.read(length))
    return Rows(
        np.frombuffer(digests, np.uint64).reshape(-1, 2),
        np.frombuffer(repeats, np.int64),
        *map(as_column, columns),
    )
