"""Positives and negatives by their embeddings, exact within a bucket: numpy only.

Embeddings are unit vectors, so near and far are ordered by the dot product: the squared L2 distance
is 2 − 2·(a·b). Of equally near rows the first is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modules.settings import TripletSettings

# Similarities held at a time: 16 MiB of float32, and a few arrays of the same shape beside them.
_BLOCK_VALUES = 1 << 22
# How many of the units in which distances are added up make 1.
UNIT = 1 << 20


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
    turn: np.ndarray,
    settings: TripletSettings,
    block_values: int = _BLOCK_VALUES,
    doubtful: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the negative of each (anchor, positive).

    `hard` allows every row of another class, `semi_hard` (Schroff et al. 2015, section 3.2) only
    those farther than the positive. A negative that is very near is often a positive with a wrong
    label. So `least_ratio` x allows none nearer than x times the L2 distance of the positive, as
    the relative margin of NV-Retriever does for text (Moreira et al. 2024, arXiv:2407.15831).

    Of L allowed rows in ascending distance it is number s + turn mod w, with w = min(`nearest`, L)
    and s = min(`skip_nearest`, L − w). If none is allowed it is the farthest negative.

    Args:
        embeddings: float32 `[rows, D]` of norm 1.
        codes: Class of each row, int `[rows]`.
        anchor: Row numbers, int64 `[triplets]`; a number may repeat.
        positive: Row numbers, int64 `[triplets]`.
        turn: Which of the `nearest` is wanted, int64 `[triplets]`, any number from 0.
        settings: `strategy`, `skip_nearest`, `nearest` and `least_ratio` count here.
        block_values: How many similarities to hold at a time; the result is the same for any.
        doubtful: Rows that are no negatives, as their label is probably wrong, bool `[rows]`; but
            the farthest negative may be one. Default: none.

    Returns:
        Row numbers, int64 `[triplets]`, and whether `skip_nearest`, `least_ratio` or `doubtful`
        left a nearer one out, bool `[triplets]`.

    Raises:
        ValueError: If there is no other class.
    """
    if (codes == codes[0]).all():
        raise ValueError("an anchor has no negative: all rows have its class")
    negative, left_out = np.empty_like(anchor), np.empty(len(anchor), bool)
    for places, similarity in _blocks(embeddings, anchor, block_values):
        to_positive = similarity[np.arange(len(places)), positive[places]]
        np.putmask(similarity, codes[anchor[places], None] == codes, -np.inf)
        if settings.strategy == "semi_hard":
            np.putmask(similarity, similarity >= to_positive[:, None], -np.inf)
        too_near = np.zeros(len(places), bool)
        if doubtful is not None and doubtful.any():
            too_near = doubtful[similarity.argmax(axis=1)] & (similarity.max(axis=1) > -np.inf)
            similarity[:, doubtful] = -np.inf
        if settings.least_ratio:
            # The distances are roots of 2 − 2 · similarity.
            most = 1 - settings.least_ratio**2 * (1 - to_positive)
            too_near |= similarity.max(axis=1) > most
            np.putmask(similarity, similarity > most[:, None], -np.inf)
        nearest, left = _nearest(similarity, settings.skip_nearest + settings.nearest)
        window = np.minimum(settings.nearest, left)
        skipped = np.minimum(settings.skip_nearest, left - window)
        rank = skipped + turn[places] % np.maximum(1, window)
        negative[places] = nearest[rank, np.arange(len(places))]
        left_out[places] = (skipped > 0) | too_near
        none = places[left == 0]
        negative[none] = _farthest_negatives(embeddings, codes, anchor[none])
    return negative, left_out


def _nearest(similarity: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The most similar rows of each row of a block, and how many there are.

    Args:
        similarity: float32 `[block, rows]`, −inf where a row is not allowed; it is changed.
        wanted: How many rows to find, at most.

    Returns:
        Row numbers by rank, int64 `[wanted, block]`, and how many of them are allowed, int64
        `[block]`.
    """
    every = np.arange(len(similarity))
    found = np.empty((wanted, len(every)), np.int64)
    left = np.zeros(len(every), np.int64)
    for rank in range(wanted):
        found[rank] = similarity.argmax(axis=1)
        left += similarity[every, found[rank]] > -np.inf
        similarity[every, found[rank]] = -np.inf
    return found, left


def _farthest_negatives(
    embeddings: np.ndarray, codes: np.ndarray, anchor: np.ndarray
) -> np.ndarray:
    """The row of another class that is farthest from each anchor, int64 `[triplets]`."""
    negative = np.empty_like(anchor)
    for places, similarity in _blocks(embeddings, anchor, _BLOCK_VALUES):
        np.putmask(similarity, codes[anchor[places], None] == codes, np.inf)
        negative[places] = similarity.argmin(axis=1)
    return negative


def squared_distances(embeddings: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared L2 distances between rows, in units of 2^-20.

    Sums of integers are the same in any order.

    Args:
        embeddings: float32 `[rows, D]` of norm 1.
        rows: Row numbers, int64 `[pairs]`.
        others: Row numbers, int64 `[pairs]`.

    Returns:
        int64 `[pairs]`.
    """
    step = max(1, _BLOCK_VALUES // embeddings.shape[1])
    dots = [
        np.einsum("ij,ij->i", embeddings[rows[at : at + step]], embeddings[others[at : at + step]])
        for at in range(0, len(rows), step)
    ]
    return np.rint((2 - 2 * np.concatenate(dots).astype(float)) * UNIT).astype(np.int64)


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
