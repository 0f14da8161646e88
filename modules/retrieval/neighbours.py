"""The exact nearest neighbours of some queries in a gallery that goes by in shards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from modules.retrieval.search import QueryTile, query_tiles, search_threads, sweep, unpack
from modules.retrieval.shards import Shard, tiles_of


def find_neighbours(
    ids: np.ndarray,
    embeddings: np.ndarray,
    gallery: Iterable[Shard],
    k: int,
    *,
    model: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Searches a gallery for every query; a row with the query's own id is no neighbour.

    Memory holds one shard and k neighbours of each query.

    Args:
        ids: Object array [Q].
        embeddings: float32 [Q, D].
        gallery: Its shards, in any order.
        k: How many neighbours, at least 1.
        model: Whose embeddings of the gallery.

    Returns:
        Positions int64 [Q, k], −1 where the gallery has no more, and squared distances float32
        [Q, k], NaN there; ordered by (distance, id), NaN last.
    """
    # Whether a neighbour has the query's class plays no part.
    no_class = np.full(len(ids), -1, np.int32)
    tiles = query_tiles(embeddings, no_class, np.full(len(ids), k))
    with search_threads() as pool:
        for shard in gallery:
            sweep(tiles, tiles_of(shard, model), shard.rows_of(ids), QueryTile.select, pool)
    positions = np.full((len(ids), k), -1)
    distances = np.full((len(ids), k), np.nan, np.float32)
    for tile in tiles:
        found, apart, _ = unpack(tile.neighbours())
        positions[tile.rows, : found.shape[1]] = found
        distances[tile.rows, : found.shape[1]] = apart
    return positions, distances
