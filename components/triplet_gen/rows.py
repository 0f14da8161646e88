"""Columns of examples: joined, sorted, selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from components.triplet_gen.hashes import GROUP, ORDER


class Rows(NamedTuple):
    """Columns of some examples.

    Attributes:
        digests: Hash of each id, uint64 `[rows, 3]`, see `hash_ids`.
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
        return self.take(np.lexsort((self.digests[:, GROUP], self.digests[:, ORDER])))


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
