"""Likely wrong labels, by the images that an embedding puts nearest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from modules.retrieval import make_gallery, nearest

NEIGHBOURS = 10
# An image is a suspect if so much more of its neighbours' weight is of one other label than of its
# own.
SUSPICIOUS = 0.5
# Near by the model: an image's nearest is so much nearer than is usual (squared distances).
_NEAR = 1 / 16
_BLOCK = 4096  # queries
_SHOWN = 4  # neighbours of a suspect that are named


class LabelVerdict(NamedTuple):
    """What the neighbours say.

    Attributes:
        suspects: Images whose neighbours have another label, the clearest first: `id`, `label`,
            `neighbours` (the label that they have), `margin` and `nearest`, ids of some neighbours.
        near: Pairs that are nearer than is usual, the nearest first: `ids`, `labels`, `distance`.
        confused: By (label, other label), how many images of a label have neighbours mostly of the
            other.
        sizes: How many images of each label were compared.
    """

    suspects: list[dict[str, Any]]
    near: list[dict[str, Any]]
    confused: Counter[tuple[str, str]]
    sizes: Counter[str]


class Ranking(NamedTuple):
    """Scores of N images, ordered by id.

    Attributes:
        ids, labels: Object arrays [N].
        margin: float64 [N], −1 … 1: the share of the most frequent other label among the
            neighbours, less that of the own label.
        other: Object array [N], that label; None if all neighbours have the own one.
        neighbours: int64 [N, k], rows, the nearest first.
        distances: float32 [N, k], squared L2.
    """

    ids: np.ndarray
    labels: np.ndarray
    margin: np.ndarray
    other: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Rows, those that most likely have a wrong label first; then by id: int64 [N]."""
        return np.argsort(-self.margin, kind="stable")


def rank_labels(
    ids: Sequence[bytes], labels: Sequence[bytes], embeddings: np.ndarray, k: int = NEIGHBOURS
) -> Ranking:
    """Ranks images by how much their neighbours speak against their label.

    The neighbours are exact (`modules.retrieval`), without the image itself. Number j of k weighs
    1/j, so that the first count most; shares are of the sum of the weights.

    Args:
        ids: N, unique.
        labels: N.
        embeddings: float32 [N, D], unit vectors, N ≥ 2.
        k: Neighbours of each, fewer if there are no more.
    """
    gallery = make_gallery(ids, labels, embeddings)
    total = len(gallery.ids)
    k = min(k, total - 1)
    blocks = [
        nearest(gallery, start, min(start + _BLOCK, total), k) for start in range(0, total, _BLOCK)
    ]
    rows, distances = (np.concatenate(column) for column in zip(*blocks, strict=True))
    weights = 1 / np.arange(1, k + 1)
    weights /= weights.sum()
    of_neighbours = gallery.classes[rows]
    # Weight of each neighbour's label: all neighbours with the same one, added up.
    same = of_neighbours[:, :, None] == of_neighbours[:, None, :]
    by_label = same @ weights
    is_own = of_neighbours == gallery.classes[:, None]
    own = is_own @ weights
    others = np.where(is_own, -1.0, by_label)
    most = others.argmax(axis=1)  # of equal ones the nearest
    share = np.maximum(others[np.arange(total), most], 0.0)
    other = gallery.labels[rows[np.arange(total), most]]
    other[is_own.all(axis=1)] = None
    return Ranking(gallery.ids, gallery.labels, share - own, other, rows, distances)


def judge_labels(
    ids: Sequence[bytes], labels: Sequence[bytes], embeddings: np.ndarray, listed: int = 100
) -> LabelVerdict:
    """Finds likely wrong labels, pairs that look the same, and classes that are confused.

    Args:
        ids: N, unique.
        labels: N.
        embeddings: float32 [N, D], unit vectors.
        listed: The most suspects to name neighbours of, and the most pairs.

    Returns:
        All suspects; pairs and neighbours as far as they are named.
    """
    sizes = Counter(label.decode(errors="replace") for label in labels)
    if len(ids) < 3:
        return LabelVerdict([], [], Counter(), sizes)
    ranking = rank_labels(ids, labels, embeddings)
    doubted = [row for row in ranking.order.tolist() if ranking.margin[row] >= SUSPICIOUS]
    against = np.flatnonzero(ranking.margin > 0)
    confused = Counter(
        (_text(ranking.labels[row]), _text(ranking.other[row])) for row in against.tolist()
    )
    suspects = [
        {
            "id": _text(ranking.ids[row]),
            "label": _text(ranking.labels[row]),
            "neighbours": _text(ranking.other[row]),
            "margin": round(float(ranking.margin[row]), 4),
            "nearest": [_text(ranking.ids[n]) for n in ranking.neighbours[row, :_SHOWN]]
            if place < listed
            else [],
        }
        for place, row in enumerate(doubted)
    ]
    return LabelVerdict(suspects, _near_pairs(ranking, listed), confused, sizes)


def _near_pairs(ranking: Ranking, listed: int) -> list[dict[str, Any]]:
    """Pairs of an image and its nearest, far below the usual distance of the nearest."""
    first, distance = ranking.neighbours[:, 0], ranking.distances[:, 0]
    usual = float(np.nanmedian(distance))
    rows = np.flatnonzero(distance <= _NEAR * usual)
    pairs = {tuple(sorted((row, int(first[row])))): float(distance[row]) for row in rows.tolist()}
    order = sorted(pairs, key=lambda pair: (pairs[pair], pair))[:listed]
    return [
        {
            "ids": [_text(ranking.ids[row]) for row in pair],
            "labels": [_text(ranking.labels[row]) for row in pair],
            "distance": round(pairs[pair], 6),
        }
        for pair in order
    ]


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
