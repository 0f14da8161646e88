"""Columns of examples: read from files, cut into chunks for Beam, joined again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from components.triplet_gen.buckets import as_digests
from modules.contract import FEATURES, ID, LABEL

_BATCH = 1024


class Rows(NamedTuple):
    """Columns of some examples.

    Attributes:
        digests: Hash of each id, uint64 `[rows, 2]`, see `hash_ids`.
        labels: Labels, object array of bytes `[rows]`.
        ids: Ids, object array of bytes `[rows]`.
        images: Encoded images, object array of bytes `[rows]`.
    """

    digests: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    images: np.ndarray

    def take(self, index: np.ndarray) -> Rows:
        """Selects rows by number or mask."""
        return Rows(*(column[index] for column in self))

    def sorted(self) -> Rows:
        """Sorts by digest, so that the order in which rows arrived leaves no trace."""
        return self.take(np.lexsort((self.digests[:, 1], self.digests[:, 0])))

    def pack(self) -> Chunk:
        """Turns the columns into what Beam's default coder encodes fast."""
        return (
            self.digests.tobytes(),
            self.labels.tolist(),
            self.ids.tolist(),
            self.images.tolist(),
        )


# Rows as one Beam element: the 16 bytes of each digest concatenated, then labels, ids, images.
Chunk = tuple[bytes, list[bytes], list[bytes], list[bytes]]


def unpack(chunks: Iterable[Chunk]) -> Rows:
    """Joins chunks, in the order given."""
    digests: list[bytes] = []
    columns: tuple[list[bytes], ...] = ([], [], [])
    for chunk in chunks:
        digests.append(chunk[0])
        for column, part in zip(columns, chunk[1:], strict=True):
            column += part
    return Rows(as_digests(b"".join(digests)), *(np.array(column, object) for column in columns))


def encode_labels(labels: np.ndarray) -> np.ndarray:
    """Numbers the labels of a bucket in their byte order, int64 `[rows]`."""
    column = labels.tolist()
    code = {label: number for number, label in enumerate(sorted(set(column)))}
    return np.fromiter(map(code.__getitem__, column), np.int64, len(column))


_SPEC = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in FEATURES}


# Traced once per process: run eagerly, the Python side of parsing costs more than parsing.
@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _parse(batch: tf.Tensor) -> dict[str, tf.Tensor]:
    return tf.io.parse_example(batch, _SPEC)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _inspect(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    parsed = tf.io.parse_example(batch, _SPEC)
    absent = tf.stack([tf.strings.length(parsed[name]) == 0 for name in FEATURES])
    return parsed[LABEL], parsed[ID], absent


def read_batches(path: str) -> Iterator[dict[str, np.ndarray]]:
    """Reads a gzipped TFRecord file in TensorFlow's C++.

    Args:
        path: File of tf.Examples.

    Yields:
        `image`, `label` and `id` of up to 1,024 examples, object arrays of bytes `[rows]`; an
        absent feature is b"".
    """
    for batch in _serialized(path):
        yield {name: column.numpy() for name, column in _parse(batch).items()}


def inspect_batches(path: str) -> Iterator[tuple[np.ndarray, tf.Tensor, np.ndarray]]:
    """Reads what is to be counted; the images stay in TensorFlow, which saves copying them.

    Args:
        path: File of tf.Examples, gzipped TFRecords.

    Yields:
        Of up to 1,024 examples: the labels, object array of bytes `[rows]`; the ids, string tensor
        `[rows]`; whether each of `FEATURES` is absent or empty, bool `[features, rows]`.
    """
    for batch in _serialized(path):
        labels, ids, absent = _inspect(batch)
        yield labels.numpy(), ids, absent.numpy()


def _serialized(path: str) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, compression_type="GZIP").batch(_BATCH).prefetch(1)
