"""Rows and ids on disk between the steps of the Beam pipeline.

What crosses a shuffle lies in the memory of a runner in one process. So the images stay in files
beside the output, and only the place of each piece is shuffled.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow as tf

from components.triplet_gen.rows import Rows, as_column


class Segment(NamedTuple):
    """Where something lies: `length` bytes from `offset` on in the file `path`."""

    path: str
    offset: int
    length: int


# The fields of a Segment: Beam groups by plain tuples without a warning.
SegmentKey = tuple[str, int, int]


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

    def write_rows(self, rows: Rows) -> Segment:
        """Appends rows and returns where they are."""
        columns = (rows.labels.tolist(), rows.ids.tolist(), rows.images.tolist())
        return self._append((rows.digests.tobytes(), rows.repeats.tobytes(), *columns))

    def write_ids(self, ids: Sequence[bytes]) -> Segment:
        """Appends ids and returns where they are."""
        return self._append(list(ids))

    def _append(self, value: Any) -> Segment:
        if not self._file:
            self._file = tf.io.gfile.GFile(self._path, "wb")
        data = pickle.dumps(value, 5)
        self._file.write(data)
        segment = Segment(self._path, self._offset, len(data))
        self._offset += len(data)
        return segment


def read_rows(segment: Segment) -> Rows:
    """Reads back what `SegmentWriter.write_rows` wrote."""
    digests, repeats, *columns = _load(segment)
    return Rows(
        np.frombuffer(digests, np.uint64).reshape(-1, 3),
        np.frombuffer(repeats, np.int64),
        *map(as_column, columns),
    )


def read_ids(segment: Segment) -> list[bytes]:
    """Reads back what `SegmentWriter.write_ids` wrote."""
    return _load(segment)


def _load(segment: Segment) -> Any:
    path, offset, length = segment
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(offset)
        return pickle.loads(file.read(length))
