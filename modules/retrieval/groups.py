"""Groups: images of one label that share the value of a column, and do not count for each other.

A person that one camera took ten times is easily found by nine of them. So person re-identification
leaves out of a query's neighbours what has its label and its camera (Zheng et al., "Scalable Person
Re-identification: A Benchmark", ICCV 2015, Market-1501). Frames of one sequence are the same case.

There is one group per label and value, for each column on its own; two rows are of one group if
they share it in any column. An empty value is unknown: it is the same as no other.

>>> import numpy as np
>>> labels, cameras = np.array(["x", "x", "y"], object), np.array(["1", "2", "1"], object)
>>> numbers = number_groups([group_keys(labels, cameras)])
>>> gallery_groups(labels, [cameras], numbers).tolist()
[[0], [1], [2]]
>>> query_groups(labels, [np.array(["2", "", "1"], object)], numbers).tolist()
[[1], [-1], [2]]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

GroupKey = tuple[Any, Any]  # label and value
GroupNumbers = tuple[dict[GroupKey, int], ...]  # of each column
_EMPTY = (b"", "")


def group_keys(labels: np.ndarray, values: np.ndarray) -> set[GroupKey]:
    """The groups that there are by one column; labels and values are object arrays [N]."""
    return set(zip(labels.tolist(), values.tolist(), strict=True))


def number_groups(keys: Iterable[set[GroupKey]]) -> GroupNumbers:
    """Numbers the groups of a gallery.

    Args:
        keys: Of each column.
    """
    return tuple({key: number for number, key in enumerate(sorted(of_one))} for of_one in keys)


def gallery_groups(
    labels: np.ndarray, columns: Sequence[np.ndarray], numbers: GroupNumbers
) -> np.ndarray:
    """The groups of rows of the gallery that `numbers` was made of: int32 [N, C], from 0."""
    return _stack(
        [
            [of_one[key] for key in zip(labels.tolist(), column.tolist(), strict=True)]
            for column, of_one in zip(columns, numbers, strict=True)
        ],
        len(labels),
    )


def query_groups(
    labels: np.ndarray, columns: Sequence[np.ndarray], numbers: GroupNumbers
) -> np.ndarray:
    """The groups of queries, int32 [Q, C]; −1 where the gallery has none of it."""
    return _stack(
        [
            [
                -1 if value in _EMPTY else of_one.get((label, value), -1)
                for label, value in zip(labels.tolist(), column.tolist(), strict=True)
            ]
            for column, of_one in zip(columns, numbers, strict=True)
        ],
        len(labels),
    )


def _stack(columns: Sequence[list[int]], rows: int) -> np.ndarray:
    return np.array(columns, np.int32).reshape(len(columns), rows).T
