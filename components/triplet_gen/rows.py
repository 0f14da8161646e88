"""Columns of examples: read from files, joined, sorted, selected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import FEATURES

_BATCH = 1024


class Rows(NamedTuple):
    """Columns of some examples.

    Attributes:
        digests: Hash of each id, uint64 `[rows, 2]`, see `hash_ids`.
        repeats: How often each is an anchor, int64 `[rows]`; 0 until that is known.
        labels: Labels, object array of bytes `[rows]`.
        ids: Ids, object array of bytes `[rows]`.
        images: Encoded images, object array of bytes `[rows]`.
    """

    digests: np.ndarray
    repeats: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    images: np.ndarray

    def take(self, index: np.ndarray | slice) -> Rows:
        """Selects rows by number, mask or slice."""
        return Rows(*(column[index] for column in self))

    def sorted(self) -> Rows:
        """Sorts by digest, so that the order in which rows arrived leaves no trace."""
        return self.take(np.lexsort((self.digests[:, 1], self.digests[:, 0])))


def concatenate(parts: Iterable[Rows]) -> Rows:
    """Joins rows, in the order given; at least one part."""
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def as_column(values: Sequence[bytes]) -> np.ndarray:
    """Makes an object array `[rows]` of bytes."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def encode_labels(labels: np.ndarray) -> np.ndarray:
    """Numbers the labels of a bucket in their byte order, int64 `[rows]`."""
    column = labels.tolist()
    code = {label: number for number, label in enumerate(sorted(set(column)))}
    return np.fromiter(map(code.__getitem__, column), np.int64, len(column))


_SPEC = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in FEATURES}


def read_batches(path: str) -> Iterator[dict[str, np.ndarray]]:
    """Reads a gzipped TFRecord file in TensorFlow's C++.

    Args:
        path: File of tf.Examples.

    Yields:
        `image`, `label` and `id` of up to 1,024 examples, object arrays of bytes `[rows]`; an
        absent feature is b"".
    """
    records = tf.data.TFRecordDataset(path, compression_type="GZIP").batch(_BATCH)
    # Parsed in the thread that reads, while Python works on the batch before.
    parsed = records.map(lambda batch: tf.io.parse_example(batch, _SPEC)).prefetch(1)
    for batch in parsed:
        yield {name: column.numpy() for name, column in batch.items()}
