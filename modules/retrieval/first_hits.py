"""Where the first neighbour of a query's class stands, for queries that have none near."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from modules.retrieval.keys import BEHIND, INFINITY
from modules.retrieval.search import (
    QueryTile,
    Visit,
    finish,
    query_tiles,
    start_sweep,
)
from modules.retrieval.shards import GalleryTile, Shard, tiles_of


def find_first_hits(
    gallery: Iterable[Shard],
    model: str,
    ids: np.ndarray,
    embeddings: np.ndarray,
    classes: np.ndarray,
    pool: ThreadPoolExecutor,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Counts the neighbours up to the first of the query's class, and those level with it.

    It goes through the gallery twice, but keeps a few numbers per query.

    Args:
        gallery: Can be gone through more than once.
        model: Whose embeddings.
        ids: Object array [Q].
        embeddings: float32 [Q, D].
        classes: int32 [Q].
        pool: As `modules.retrieval.search.search_threads` gives it.
        groups: As for `modules.retrieval.search.query_tiles`.

    Returns:
        int64 [3, Q]: neighbours that are nearer than the first hit, neighbours as far as it, and
        the hits among these; all 0 where no neighbour has the query's class, or only at NaN.
    """
    tiles = query_tiles(embeddings, classes, np.ones(len(ids), np.int64), groups)
    nearest = np.full(len(ids), BEHIND)
    counts = np.zeros((3, len(ids)), np.int64)

    def find(
        tile: QueryTile, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray
    ) -> None:
        bits = tile.distances(gallery_tile, own, products).view(np.int32)
        hits = (gallery_tile.classes == tile.classes) & (bits <= INFINITY)
        of_tile = np.min(bits, axis=1, where=hits, initial=BEHIND)
        nearest[tile.rows] = np.minimum(nearest[tile.rows], of_tile)

    def count(
        tile: QueryTile, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray
    ) -> None:
        bits = tile.distances(gallery_tile, own, products).view(np.int32)
        level = bits == nearest[tile.rows, None]
        hits = level & (gallery_tile.classes == tile.classes)
        parts = bits < nearest[tile.rows, None], level, hits
        counts[:, tile.rows] += [np.count_nonzero(part, axis=1) for part in parts]

    visits: tuple[Visit, ...] = (find, count)
    for visit in visits:
        for shard in gallery:
            finish(start_sweep(tiles, tiles_of(shard, model), shard.rows_of(ids), visit, pool))
    return np.where(nearest == BEHIND, 0, counts)
