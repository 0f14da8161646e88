"""Exact retrieval scores of embeddings that fit into memory.

`modules.retrieval.definitions` says what each score is. `modules.retrieval.transforms` does the
same in Beam, for galleries that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.retrieval.definitions import COUNTS, score_names
from modules.retrieval.groups import (
    GroupNumbers,
    gallery_groups,
    group_keys,
    number_groups,
    query_groups,
)
from modules.retrieval.keys import unpack
from modules.retrieval.scores import QueryBlock, score_block
from modules.retrieval.search import (
    QueryTile,
    finish,
    query_tiles,
    search_threads,
    start_sweep,
)
from modules.retrieval.shards import Shard, reject_repeated, tiles_of


class Gallery(NamedTuple):
    """Labelled embeddings, ordered by id: a position in the gallery is a rank among the ids.

    Attributes:
        ids: Object array [N] of bytes or str, ascending, unique.
        labels: Object array [N] of bytes or str.
        classes: int32 [N], one number per distinct label.
        positives: int64 [N], R: the number of other members of the same class.
        embeddings: float32 [N, D].
        columns: Object arrays [N] that make groups, see `modules.retrieval.groups`.
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    positives: np.ndarray
    embeddings: np.ndarray
    columns: tuple[np.ndarray, ...] = ()


def make_gallery(
    ids: Sequence[bytes | str] | np.ndarray,
    labels: Sequence[bytes | str] | np.ndarray,
    embeddings: np.ndarray,
    columns: Sequence[Sequence[object]] = (),
) -> Gallery:
    """Orders labelled embeddings by id.

    Args:
        ids: N unique ids, bytes or str.
        labels: N class names, bytes or str.
        embeddings: [N, D], any float dtype; converted to float32.
        columns: N values each, such as cameras. What has a query's label and its value in one of
            them is none of its neighbours.

    Returns:
        The gallery, whatever the order of the arguments.

    Raises:
        ValueError: The lengths differ, the embeddings are not a matrix, or an id occurs twice.
    """
    unordered = np.asarray(ids, dtype=object), np.asarray(labels, dtype=object)
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 2 or not len(ids) == len(labels) == len(embeddings):
        raise ValueError(
            "retrieval needs one id, one label and one embedding row per example, got "
            f"{len(ids)} ids, {len(labels)} labels and embeddings of shape {embeddings.shape}"
        )
    order = np.argsort(unordered[0], kind="stable")
    ordered_ids, ordered_labels = (column[order] for column in unordered)
    reject_repeated(ordered_ids)
    _, classes, sizes = np.unique(ordered_labels, return_inverse=True, return_counts=True)
    return Gallery(
        ids=ordered_ids,
        labels=ordered_labels,
        classes=classes.astype(np.int32),
        positives=sizes[classes] - 1,
        embeddings=np.ascontiguousarray(embeddings[order]),
        columns=tuple(np.asarray(column, dtype=object)[order] for column in columns),
    )


def nearest(gallery: Gallery, start: int, stop: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest neighbours of the gallery's rows [start, stop), themselves excluded.

    Args:
        gallery: The gallery, N rows.
        start: First query position.
        stop: Position behind the last query.
        k: Number of neighbours, 1 ≤ k ≤ N − 1.

    Returns:
        Positions int64 [stop − start, k] and squared distances float32 [stop − start, k], ordered
        by (distance, id), NaN last. Distances are rounded as `modules.retrieval.search` says.

    Raises:
        ValueError: k is out of range.
    """
    total = len(gallery.ids)
    if not 1 <= k < total:
        raise ValueError(f"k must be in [1, {total - 1}] for a gallery of {total}, got {k}")
    shard = Shard(0, gallery.ids, gallery.classes, {"": gallery.embeddings})
    own = np.arange(start, stop)
    tiles = query_tiles(
        gallery.embeddings[start:stop], gallery.classes[start:stop], np.full(stop - start, k)
    )
    positions = np.empty((stop - start, k), np.int64)
    distances = np.empty((stop - start, k), np.float32)
    with search_threads() as pool:
        finish(start_sweep(tiles, tiles_of(shard, ""), own, QueryTile.select, pool))
    for tile in tiles:
        positions[tile.rows], distances[tile.rows] = unpack(tile.neighbours())
    return positions, distances


def score_queries(
    gallery: Gallery, ks: Sequence[int], start: int = 0, stop: int | None = None
) -> dict[str, np.ndarray]:
    """Scores the gallery's rows [start, stop) as queries.

    Memory grows with the gallery and with (stop − start) · max(k, R), never with N².

    Args:
        gallery: The gallery, which also holds the queries.
        ks: The values of k.
        start: First query position.
        stop: Position behind the last query; the end of the gallery by default.

    Returns:
        One float64 array [stop − start] per name in `score_names(ks)`, NaN where R = 0, and one
        per name in `COUNTS`, each 0 or 1.

    Raises:
        ValueError: As `score_names`.
    """
    names = [*score_names(ks), *COUNTS]
    rows = slice(start, stop)
    block = QueryBlock(
        ids=gallery.ids[rows],
        classes=gallery.classes[rows],
        members=gallery.positives[rows] + 1,
        embeddings={"": gallery.embeddings[rows]},
        groups=query_groups(gallery.labels, gallery.columns, _numbers(gallery))[rows],
    )
    scores = score_block(block, [_only_shard(gallery)], ks)[""].scores
    return dict(zip(names, scores.T, strict=True))


def score_against(queries: Gallery, gallery: Gallery, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Scores queries in a gallery of its own; a row with the query's id is no neighbour.

    Args:
        queries: Ordered by id; their `positives` play no part.
        gallery: What to search in, with the same columns.
        ks: The values of k.

    Returns:
        As `score_queries`.

    Raises:
        ValueError: As `score_names`.
    """
    labels, first, sizes = np.unique(gallery.labels, return_index=True, return_counts=True)
    known = {
        label: (gallery.classes[row], size)
        for label, row, size in zip(labels, first, sizes, strict=True)
    }
    found = np.array([known.get(label, (-1, 0)) for label in queries.labels], np.int64)
    block = QueryBlock(
        ids=queries.ids,
        classes=found[:, 0].astype(np.int32),
        members=found[:, 1],
        embeddings={"": queries.embeddings},
        groups=query_groups(queries.labels, queries.columns, _numbers(gallery)),
    )
    scores = score_block(block, [_only_shard(gallery)], ks)[""].scores
    return dict(zip([*score_names(ks), *COUNTS], scores.T, strict=True))


def _numbers(gallery: Gallery) -> GroupNumbers:
    return number_groups(group_keys(gallery.labels, column) for column in gallery.columns)


def _only_shard(gallery: Gallery) -> Shard:
    groups = gallery_groups(gallery.labels, gallery.columns, _numbers(gallery))
    return Shard(0, gallery.ids, gallery.classes, {"": gallery.embeddings}, groups)
