"""Likely wrong labels, by the images that an embedding puts nearest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from modules.retrieval import Gallery, make_gallery, nearest

NEIGHBOURS = 50
# An image is a suspect if its own class is so many times farther than another one.
SUSPICIOUS = 3.0
_OF_CLASS = 5  # images that say how far a class is
_EPSILON = 1e-3  # added to squared distances: below it nothing can be told
# Near by the model, as squared distances: an image's nearest is so much nearer than is usual, or
# two are each other's nearest, and so much nearer than whatever is next to either.
_NEAR, _NEARER_THAN_NEXT = 1 / 16, 1 / 4
_BLOCK = 4096  # queries
_SHOWN = 4  # neighbours of a suspect that are named


class LabelVerdict(NamedTuple):
    """What the neighbours say.

    Attributes:
        suspects: Images whose neighbours have another label, the clearest first: `id`, `label`,
            `neighbours` (the label that they have), `doubt` and `nearest`, ids of some neighbours.
        near: Pairs that are far nearer than others, the nearest first: `ids`, `labels`, `distance`.
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
        doubt: float64 [N], how many times farther the image's own class is than another one, as
            squared distances; 0 of an image alone in its class, where nothing can be said.
        other: Object array [N], the label of that other class; None if no neighbour has another.
        neighbours: int64 [N, k], rows, the nearest first.
        distances: float32 [N, k], squared L2.
    """

    ids: np.ndarray
    labels: np.ndarray
    doubt: np.ndarray
    other: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Rows, those that most likely have a wrong label first; then by id: int64 [N]."""
        return np.argsort(-self.doubt, kind="stable")


def rank_labels(ids: Sequence[bytes], labels: Sequence[bytes], embeddings: np.ndarray) -> Ranking:
    """Ranks images by how much nearer another class is than the own one.

    How far a class is, is the mean squared distance of its 5 nearest images (of all, if it has
    fewer), without the image itself. The own class is searched as a whole, so that an image far
    from all of it counts as such. Of the other classes those count that are among the 50 nearest
    images; what a class lacks there of its 5 is taken to be as far as the last of the 50. All
    neighbours are exact (`modules.retrieval`).

    Args:
        ids: N, unique.
        labels: N.
        embeddings: float32 [N, D], unit vectors, N ≥ 2.
    """
    gallery = make_gallery(ids, labels, embeddings)
    total = len(gallery.ids)
    k = min(NEIGHBOURS, total - 1)
    rows, distances = _search(gallery, k)
    own = np.zeros(total)
    for code in range(gallery.classes.max() + 1):
        members = np.flatnonzero(gallery.classes == code)
        if len(members) > 1:
            of_class = make_gallery(
                gallery.ids[members], gallery.labels[members], gallery.embeddings[members]
            )
            own[members] = _search(of_class, min(_OF_CLASS, len(members) - 1))[1].mean(axis=1)
    sizes = np.bincount(gallery.classes)
    other, nearest_class = _nearest_other(gallery.classes, sizes, rows, distances)
    label = np.full(total, None, object)
    known = np.flatnonzero(nearest_class >= 0)
    first = {code: row for row, code in reversed(list(enumerate(gallery.classes.tolist())))}
    label[known] = [gallery.labels[first[code]] for code in nearest_class[known].tolist()]
    doubt = np.where(np.isfinite(other), own / (other + _EPSILON), 0.0)
    return Ranking(gallery.ids, gallery.labels, doubt, label, rows, distances)


def _search(gallery: Gallery, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All rows' nearest: int64 and float32 [N, k]."""
    total = len(gallery.ids)
    blocks = [
        nearest(gallery, start, min(start + _BLOCK, total), k) for start in range(0, total, _BLOCK)
    ]
    rows, distances = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return rows, distances


def _nearest_other(
    classes: np.ndarray, sizes: np.ndarray, rows: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far the nearest other class is, float64 [N], and which, int64 [N]; inf and −1: none."""
    found = classes[rows]
    last = distances[:, -1].astype(np.float64)
    # The how many-th of its class each neighbour is, counted from 0.
    place = np.zeros(found.shape, np.int64)
    for column in range(1, found.shape[1]):
        place[:, column] = (found[:, :column] == found[:, column : column + 1]).sum(axis=1)
    counts = place < _OF_CLASS
    best = np.full(len(rows), np.inf)
    which = np.full(len(rows), -1)
    for column in range(found.shape[1]):
        candidates = np.flatnonzero((place[:, column] == 0) & (found[:, column] != classes))
        if not len(candidates):
            continue
        code = found[candidates, column]
        of_class = (found[candidates] == code[:, None]) & counts[candidates]
        wanted = np.minimum(_OF_CLASS, sizes[code])
        there = of_class.sum(axis=1)
        total = np.where(of_class, distances[candidates], 0.0).sum(axis=1, dtype=np.float64)
        mean = (total + (wanted - there) * last[candidates]) / wanted
        better = mean < best[candidates]
        best[candidates[better]], which[candidates[better]] = mean[better], code[better]
    return best, which


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
    doubted = [row for row in ranking.order.tolist() if ranking.doubt[row] >= SUSPICIOUS]
    against = np.flatnonzero(ranking.doubt > 1)
    confused = Counter(
        (_text(ranking.labels[row]), _text(ranking.other[row])) for row in against.tolist()
    )
    suspects = [
        {
            "id": _text(ranking.ids[row]),
            "label": _text(ranking.labels[row]),
            "neighbours": _text(ranking.other[row]),
            "doubt": round(float(ranking.doubt[row]), 2),
            "nearest": [_text(ranking.ids[n]) for n in ranking.neighbours[row, :_SHOWN]]
            if place < listed
            else [],
        }
        for place, row in enumerate(doubted)
    ]
    return LabelVerdict(suspects, _near_pairs(ranking, listed), confused, sizes)


def _near_pairs(ranking: Ranking, listed: int) -> list[dict[str, Any]]:
    """Pairs of an image and its nearest, far below the usual distance or that of the next one."""
    first, distance = ranking.neighbours[:, 0], ranking.distances[:, 0]
    usual = float(np.nanmedian(distance))
    following = np.minimum(ranking.distances[:, 1], ranking.distances[first, 1])
    stands_out = (first[first] == np.arange(len(first))) & (
        distance <= _NEARER_THAN_NEXT * following
    )
    rows = np.flatnonzero((distance <= _NEAR * usual) | stands_out)
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
