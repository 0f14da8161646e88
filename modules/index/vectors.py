"""The vectors of a gallery, which are read in parts and never held together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np


class Vectors:
    """Vectors in the order of their row numbers.

    Example:
        >>> whole = np.eye(4, dtype=np.float32)
        >>> vectors = Vectors([3, 1], 4, lambda part: whole[:3] if part == 0 else whole[3:])
        >>> len(vectors), vectors.take(np.array([3])).argmax()
        (4, np.int64(3))

    Attributes:
        dimension: D.
    """

    def __init__(
        self, sizes: Sequence[int], dimension: int, read: Callable[[int], np.ndarray]
    ) -> None:
        """Takes how they are read.

        Args:
            sizes: Rows of each part.
            dimension: D.
            read: Part number → its vectors, float32 [rows, D]; called again whenever they are
                needed again.
        """
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.dimension = dimension
        self._read = read

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """The first row of each part, and its vectors: float32 [rows, D], contiguous."""
        for part, first in enumerate(self._firsts[:-1]):
            yield int(first), np.ascontiguousarray(self._read(part), np.float32)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some vectors, float32 [rows, D]; only the parts that hold them are read.

        Args:
            rows: int64 [rows], in any order, also repeated.
        """
        found = np.empty((len(rows), self.dimension), np.float32)
        parts = np.searchsorted(self._firsts, rows, side="right") - 1
        for part in np.unique(parts):
            here = parts == part
            found[here] = self._read(int(part))[rows[here] - self._firsts[part]]
        return found

    def extremes(self) -> np.ndarray:
        """The least and the largest value of each component: float32 [2, D]."""
        least = np.full(self.dimension, np.inf, np.float32)
        largest = -least
        for _, part in self.parts():
            np.minimum(least, part.min(axis=0, initial=np.inf), out=least)
            np.maximum(largest, part.max(axis=0, initial=-np.inf), out=largest)
        return np.stack([least, largest])
