"""Which images of a span do not look like their class, by their neighbours among all others."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from modules.retrieval import Gallery

NEIGHBOURS = 5
_BLOCK = 512  # queries whose distances are held at once


class ImageVerdict(NamedTuple):
    """An image whose neighbours mostly have another label.

    Attributes:
        id, label: Its own.
        neighbours: The label that most of the neighbours have.
        share: Part of the neighbours that have it.
    """

    id: bytes
    label: bytes
    neighbours: bytes
    share: float


class ClassVerdict(NamedTuple):
    """A class of the span.

    Attributes:
        label: Its name.
        images: How many of it are in the span.
        strangers: How many of those have neighbours mostly of another label.
        usual: Part of such images of this class among all others; NaN if there are none.
        looks_like: The label that the neighbours of its strangers have most; None without any.
    """

    label: bytes
    images: int
    strangers: int
    usual: float
    looks_like: bytes | None

    @property
    def excess(self) -> float:
        """Strangers beyond what is usual for the class."""
        return self.strangers - self.images * self.usual


class SpanVerdict(NamedTuple):
    """What does not look like its class.

    Attributes:
        classes: Those with more strangers than usual, the worst first.
        images: The strangers of these classes, the clearest first.
        new_classes: Classes that the other images lack, with the number of their images.
    """

    classes: list[ClassVerdict]
    images: list[ImageVerdict]
    new_classes: dict[bytes, int]


def judge_span(span: Gallery, rest: Gallery) -> SpanVerdict:
    """Compares the labels of images with those of their neighbours in other spans.

    An image is a stranger if, of its `NEIGHBOURS` nearest images, most have another label; of
    labels that are equally frequent, that of the nearest counts. Some classes are hard for any
    model, so a class is only named where it has more strangers than among the other images.

    Args:
        span: The images to judge, embedded by a model that has not learned from them.
        rest: The images that it has learned from.

    Returns:
        See `SpanVerdict`. What has a label that the rest lacks is not judged.
    """
    usual = _strangers_by_class(rest, _votes(rest, rest, itself=True))
    known = np.isin(span.labels, rest.labels)
    new = Counter(span.labels[~known].tolist())
    rows = np.flatnonzero(known)
    votes = _votes(span, rest, itself=False)
    images = [
        ImageVerdict(span.ids[row], span.labels[row], *votes[row])
        for row in rows
        if votes[row][0] != span.labels[row]
    ]
    sizes = Counter(span.labels[rows].tolist())
    classes = []
    for label, size in sizes.items():
        looks = Counter(image.neighbours for image in images if image.label == label)
        # Of labels that are equally frequent the first by name.
        most = min(looks, key=lambda name: (-looks[name], name)) if looks else None
        classes.append(ClassVerdict(label, size, looks.total(), usual[label], most))
    worst = sorted(
        (one for one in classes if one.excess > 0), key=lambda one: (-one.excess, one.label)
    )
    excess = {one.label: one.excess / one.images for one in worst}
    named = [image for image in images if image.label in excess]
    named.sort(key=lambda image: (-image.share, -excess[image.label], image.id))
    return SpanVerdict(worst, named, dict(sorted(new.items())))


def _strangers_by_class(gallery: Gallery, votes: list[tuple[bytes, float]]) -> dict[bytes, float]:
    strange = np.array([vote[0] for vote in votes], object) != gallery.labels
    return {label: float(strange[gallery.labels == label].mean()) for label in set(gallery.labels)}


def _votes(queries: Gallery, gallery: Gallery, *, itself: bool) -> list[tuple[bytes, float]]:
    """For each query the label of most neighbours, and their part."""
    if len(gallery.ids) <= itself:
        return [(label, 1.0) for label in queries.labels]
    found: list[tuple[bytes, float]] = []
    for start in range(0, len(queries.ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        nearest = _nearest(queries.embeddings[block], gallery, start if itself else None)
        found += [_vote(gallery.labels[row].tolist()) for row in nearest]
    return found


def _vote(labels: list[bytes]) -> tuple[bytes, float]:
    """`labels`: the nearest first, which is also the order of `Counter` among equals."""
    label, count = Counter(labels).most_common(1)[0]
    return label, count / len(labels)


def _nearest(embeddings: np.ndarray, gallery: Gallery, first: int | None) -> np.ndarray:
    """Rows of the nearest, int64 [B, k], the nearest first; `first`: the first query's own row."""
    others = gallery.embeddings
    distances = np.square(others).sum(axis=1) - 2 * embeddings @ others.T
    if first is not None:
        rows = np.arange(len(embeddings))
        distances[rows, first + rows] = np.inf
    k = min(NEIGHBOURS, len(others) - (first is not None))
    nearest = np.sort(np.argpartition(distances, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)
