"""Which queries a page shows, and which images it needs for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modules.retrieval import KeptQueries

MOST_PICTURES = 10_000
MOST_IMAGES = 20_000  # points of the map may have no picture
_WORST, _RANDOM, _CLASSES = 200, 200, 500


class Chosen(NamedTuple):
    """Row numbers of the kept queries, int64 arrays, and ids of images.

    Attributes:
        worst: Queries whose nearest neighbour is wrong, the worst first.
        random: A random sample.
        classes: One of each class, in the order of their names.
        mapped: The points of the map.
        ids: The images of the page: queries, neighbours, points of the map. The first
            `MOST_PICTURES` have a picture.
        wrong: How many of the kept queries have a wrong nearest neighbour.
    """

    worst: np.ndarray
    random: np.ndarray
    classes: np.ndarray
    mapped: np.ndarray
    ids: list[bytes]
    wrong: int


def choose(queries: KeptQueries, map_images: int) -> Chosen:
    """Chooses what to show.

    Args:
        queries: In random order, as they are kept.
        map_images: The most points of the map.
    """
    found = np.isfinite(queries.distances[:, 0]) & scored(queries)
    wrong = np.flatnonzero(found & ~queries.hits[:, 0])
    # What finds least comes first; among equals the one that is most sure of its error.
    quality = queries.scores["candidate"]["map@r"][wrong]
    worst = wrong[np.lexsort((queries.distances[wrong, 0], quality))][:_WORST]
    random = np.arange(len(queries.ids))[:_RANDOM]
    _, first = np.unique(queries.labels, return_index=True)
    finite = np.isfinite(queries.embeddings).all(axis=1)
    mapped = np.flatnonzero(finite)[:map_images]
    classes = first[:_CLASSES]
    ids: dict[bytes, None] = {}
    for rows, with_neighbours, most in (
        (np.concatenate([worst, random, classes]), True, MOST_PICTURES),
        (mapped, False, MOST_IMAGES),
        (np.arange(len(queries.ids)), True, MOST_PICTURES),
    ):
        for row in rows.tolist():
            ids[queries.ids[row]] = None
            if with_neighbours:
                ids.update((one, None) for one in queries.neighbours[row] if one is not None)
            if len(ids) >= most:
                break
    return Chosen(worst, random, classes, mapped, list(ids)[:MOST_IMAGES], len(wrong))


def scored(queries: KeptQueries) -> np.ndarray:
    """Which queries have anything to find, bool [N]."""
    return np.isfinite(queries.scores["candidate"]["map@r"])


class Confusion(NamedTuple):
    """A class that is taken for another.

    Attributes:
        label: Of the queries.
        taken_for: Label of their nearest neighbours.
        queries: How many.
        share: Of the queries of the label.
        examples: Rows of queries, the nearest first.
    """

    label: bytes
    taken_for: bytes
    queries: int
    share: float
    examples: list[int]


def find_confusions(
    queries: KeptQueries, labels: dict[bytes, bytes], most: int = 12, examples: int = 4
) -> list[Confusion]:
    """Counts which class the wrong nearest neighbours are of, the most frequent first.

    Args:
        queries: The queries.
        labels: Of the neighbours, by id.
        most: Pairs of classes at most.
        examples: Of each pair at most.
    """
    names, sizes = np.unique(queries.labels, return_counts=True)
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    pairs: dict[tuple[bytes, bytes], list[int]] = {}
    wrong = np.flatnonzero(
        scored(queries) & np.isfinite(queries.distances[:, 0]) & ~queries.hits[:, 0]
    )
    for row in wrong.tolist():
        label = labels.get(queries.neighbours[row, 0])
        if label is not None:
            pairs.setdefault((queries.labels[row], label), []).append(row)
    ordered = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))[:most]
    return [
        Confusion(
            label,
            taken_for,
            len(rows),
            len(rows) / size_of[label],
            sorted(rows, key=lambda row: float(queries.distances[row, 0]))[:examples],
        )
        for (label, taken_for), rows in ordered
    ]
