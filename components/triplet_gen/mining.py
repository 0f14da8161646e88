"""Positives and negatives by their embeddings, exact within a bucket: numpy only.

Embeddings are unit vectors, so near and far are ordered by the dot product: the squared L2 distance
is 2 − 2·(a·b). Of equally near rows the first is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Similarities held at a time: 16 MiB of float32, and a few arrays of the same shape beside them.
_BLOCK_VALUES = 1 << 22


def farthest_positives(
    embeddings: np.ndarray, codes: np.ndarray, anchor: np.ndarray, block_values: int = _BLOCK_VALUES
) -> np.ndarray:
    """Finds the farthest other row of each anchor's class ("hard positive").

    Args:
        embeddings: float32 `[rows, D]` of norm 1.
        codes: Class of each row, int `[rows]`.
        anchor: Row numbers, int64 `[triplets]`; a number may repeat.
        block_values: How many similarities to hold at a time; the result is the same for any.

    Returns:
        Row numbers, int64 `[triplets]`.

    Raises:
        ValueError: If an anchor's class has no second row.
    """
    positive = np.empty_like(anchor)
    for places, similarity in _blocks(embeddings, anchor, block_values):
        rows = anchor[places]
        candidates = codes[rows, None] == codes
        candidates[np.arange(len(rows)), rows] = False
        if not candidates.any(axis=1).all():
            raise ValueError("an anchor has no positive: its class has no second row")
        positive[places] = np.argmin(np.where(candidates, similarity, np.inf), axis=1)
    return positive


def mine_negatives(
    embeddings: np.ndarray,
    codes: np.ndarray,
    anchor: np.ndarray,
    positive: np.ndarray,
    strategy: str,
    block_values: int = _BLOCK_VALUES,
) -> np.ndarray:
    """Finds the negative of each (anchor, positive).

    `hard` is the nearest row of another class. `semi_hard` (Schroff et al. 2015, section 3.2) is
    the nearest one that is farther than the positive; if none is, the farthest negative.

    Args:
        embeddings: float32 `[rows, D]` of norm 1.
        codes: Class of each row, int `[rows]`.
        anchor: Row numbers, int64 `[triplets]`; a number may repeat.
        positive: Row numbers, int64 `[triplets]`.
        strategy: `semi_hard` or `hard`.
        block_values: How many similarities to hold at a time; the result is the same for any.

    Returns:
        Row numbers, int64 `[triplets]`.

    Raises:
        ValueError: If there is no other class.
    """
    negative = np.empty_like(anchor)
    for places, similarity in _blocks(embeddings, anchor, block_values):
        same = codes[anchor[places], None] == codes
        if same.all(axis=1).any():
            raise ValueError("an anchor has no negative: all rows have its class")
        excluded = same
        if strategy == "semi_hard":
            to_positive = similarity[np.arange(len(places)), positive[places]]
            excluded = same | (similarity >= to_positive[:, None])
        found = np.argmax(np.where(excluded, -np.inf, similarity), axis=1)
        none = np.flatnonzero(excluded.all(axis=1))
        if len(none):
            found[none] = np.argmin(np.where(same[none], np.inf, similarity[none]), axis=1)
        negative[places] = found
    return negative


def _blocks(
    embeddings: np.ndarray, anchor: np.ndarray, block_values: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields places in `anchor`, and the similarity of each of those anchors to all rows.

    Equal anchors stand together, so that their similarities are computed once.
    """
    order = np.argsort(anchor, kind="stable")
    step = max(1, block_values // len(embeddings))
    for first in range(0, len(order), step):
        places = order[first : first + step]
        rows, which = np.unique(anchor[places], return_inverse=True)
        similarity = embeddings[rows] @ embeddings.T
        yield places, similarity if len(rows) == len(places) else similarity[which]
