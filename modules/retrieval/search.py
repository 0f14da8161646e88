"""Exact nearest neighbours of a block of queries in a gallery that goes by in shards, in numpy.

A neighbour is one integer, its key: the bits of its squared distance (float32, never negative, so
bits ascend as distances do), below them its position in the gallery, and one bit that tells whether
it has the query's class. Positions ascend as ids do, so the order of keys is (distance, id).

Queries are multiplied with the gallery tile by tile. A tile is what one factor of a matrix product
holds: up to `QUERY_TILE` queries, or up to `GALLERY_TILE` rows of a shard. Every product has the
same shape, padded where rows are missing. BLAS picks its kernel, and with it the rounding, by the
shape, so the distance of a pair does not depend on the shard and the block that it came in. Each
product is one thread's work, and several are at work at once, since selecting neighbours takes as
long as multiplying.

`tests.benchmarks.bench_retrieval_search` compares the products with those of TensorFlow and faiss:
faiss would save too little of the search to be worth a further dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from modules.retrieval.shards import GALLERY_TILE, GalleryTile, Shard, padded, tiles_of

QUERY_TILE = 256  # queries: 256 × 2,048 distances are 2 MiB and stay in the cache

_KEPT = 1 << 23  # keys of one tile: with very many neighbours a tile has fewer queries
_DENSE = 1 / 4  # share of candidates from which a whole tile costs less than picking them out
_BEHIND = np.int32(0x7FFFFFFF)  # bits behind every distance, NaN included: no neighbour
_INFINITY = 0x7F800000  # bits above are NaN
_NOTHING = np.iinfo(np.int64).max  # the key of no neighbour


class QueryTile:
    """Some queries and the nearest neighbours found so far.

    Attributes:
        rows: int64 [Q], which queries of the search these are.
        classes: int32 [Q, 1]; a number below 0 is a label that the gallery does not have.
    """

    def __init__(
        self,
        rows: np.ndarray,
        embeddings: np.ndarray,
        classes: np.ndarray,
        depth: int,
        groups: np.ndarray | None = None,
    ) -> None:
        self.rows, self.classes = rows, classes[:, None]
        self._groups = [] if groups is None else [column[:, None] for column in groups.T]
        self._squared_norms = np.einsum("nd,nd->n", embeddings, embeddings)[:, None]
        self._factor = padded(-2 * embeddings, QUERY_TILE)
        self._depth = depth
        self._kept: list[np.ndarray] = []  # keys [Q, …], unordered
        self._width = 0
        self._limit: np.ndarray | None = None  # bits of the farthest kept; None while all fit

    def distances(self, gallery_tile: GalleryTile, own: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Squared distances, with `_BEHIND` for what is no neighbour: itself, and its groups.

        |q|² + |g|² − 2 q·g, clipped at 0: on unit vectors they carry the rounding of float32 near
        1, about 1e-7.

        Args:
            gallery_tile: Rows of the gallery.
            own: int64 [Q], the row of the gallery tile that is the query itself; none outside it.
            out: float32 [QUERY_TILE, GALLERY_TILE], overwritten.

        Returns:
            A view of `out`, float32 [Q, gallery_tile.size]: not negative, NaN without a sign.
        """
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity have their place
            np.matmul(self._factor, gallery_tile.embeddings.T, out=out)
            result = out[: len(self.rows), : gallery_tile.size]
            result += self._squared_norms
            result += gallery_tile.squared_norms
        np.maximum(result, 0, out=result)  # rounding can fall below 0; NaN stays NaN
        bits = result.view(np.int32)
        bits &= 0x7FFFFFFF  # the sign of −0 and of NaN would break the order
        inside = np.flatnonzero((own >= 0) & (own < gallery_tile.size))
        bits[inside, own[inside]] = _BEHIND
        for mine, theirs in zip(self._groups, gallery_tile.groups, strict=True):
            np.copyto(bits, _BEHIND, where=mine == theirs)
        return result

    def select(self, gallery_tile: GalleryTile, distances: np.ndarray) -> None:
        """Keeps those rows of a gallery tile that may be among the `depth` nearest."""
        bits = distances.view(np.int32)
        if self._limit is not None:
            admitted = np.flatnonzero(bits <= self._limit)
            if len(admitted) < _DENSE * bits.size:
                if len(admitted):
                    self._keep(self._picked(gallery_tile, bits, admitted))
                return
        self._keep(_keys(bits, gallery_tile.position, gallery_tile.classes == self.classes))

    def _picked(
        self, gallery_tile: GalleryTile, bits: np.ndarray, admitted: np.ndarray
    ) -> np.ndarray:
        """Keys of single cells, moved to the left of their rows: int64 [Q, most in a row]."""
        rows, columns = np.divmod(admitted, gallery_tile.size)
        hits = gallery_tile.classes[columns] == self.classes[rows, 0]
        counts = np.bincount(rows, minlength=len(self.rows))
        keys = np.full((len(self.rows), counts.max()), _NOTHING)
        places = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        high = bits[rows, columns].astype(np.int64) << 32
        keys[rows, places] = high | ((gallery_tile.position + columns) << 1) | hits
        return keys

    def _keep(self, keys: np.ndarray) -> None:
        self._kept.append(keys)
        self._width += keys.shape[1]
        # Cutting costs as much as was gathered: waiting for twice the depth halves it.
        if self._width >= 2 * self._depth:
            self._cut()

    def _cut(self) -> None:
        keys = np.concatenate(self._kept, axis=1)
        if keys.shape[1] > self._depth:
            keys.partition(self._depth - 1, axis=1)
            keys = keys[:, : self._depth].copy()
        self._kept, self._width = [keys], keys.shape[1]
        if self._width == self._depth:
            self._limit = (keys.max(axis=1, keepdims=True) >> 32).astype(np.int32)

    def neighbours(self) -> np.ndarray:
        """The keys of the nearest, ascending: int64 [Q, W ≤ depth], `_NOTHING` behind the last."""
        if not self._kept:
            return np.empty((len(self.rows), 0), np.int64)
        self._cut()
        self._kept[0].sort(axis=1)
        return self._kept[0]


def query_tiles(
    embeddings: np.ndarray,
    classes: np.ndarray,
    depths: np.ndarray,
    groups: np.ndarray | None = None,
) -> list[QueryTile]:
    """Puts queries that need about as many neighbours into one tile.

    Args:
        embeddings: float32 [Q, D].
        classes: int32 [Q].
        depths: int64 [Q], the least number of neighbours to find, 1 or above.
        groups: int32 [Q, C], −1 for none; None if the gallery has no such columns either.
    """
    order = np.argsort(-depths, kind="stable")
    tiles, first = [], 0
    while first < len(order):
        depth = int(depths[order[first]])
        rows = order[first : first + max(1, min(QUERY_TILE, _KEPT // depth))]
        of_rows = None if groups is None else groups[rows]
        tiles.append(QueryTile(rows, embeddings[rows], classes[rows], depth, of_rows))
        first += len(rows)
    return tiles


Visit = Callable[[QueryTile, GalleryTile, np.ndarray], None]


def sweep(
    tiles: Iterable[QueryTile],
    gallery_tiles: Iterable[GalleryTile],
    own: np.ndarray,
    visit: Visit,
    pool: ThreadPoolExecutor,
) -> None:
    """Calls `visit` with every query tile, every gallery tile and the distances between them.

    Args:
        tiles: Queries. Each is one thread's at a time; several are visited at once.
        gallery_tiles: Of one shard.
        own: int64 [queries], the shard's row that is the query itself, −1 if none is.
        visit: The distances it gets are overwritten later.
        pool: As `search_threads` gives it.
    """
    gallery_tiles = list(gallery_tiles)

    def visit_tile(tile: QueryTile) -> None:
        out = np.empty((QUERY_TILE, GALLERY_TILE), np.float32)
        for number, gallery_tile in enumerate(gallery_tiles):
            shifted = own[tile.rows] - number * GALLERY_TILE
            visit(tile, gallery_tile, tile.distances(gallery_tile, shifted, out))

    for _ in pool.map(visit_tile, tiles):
        pass


@contextmanager
def search_threads() -> Iterator[ThreadPoolExecutor]:
    """One thread per core that this process may use, each with a BLAS of its own.

    Threads of both kinds would collide. Affinity and the limits of a container count.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        yield pool


def unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Takes keys apart.

    Args:
        keys: int64, any shape.

    Returns:
        Of the same shape: positions int64, −1 for no neighbour; squared distances float32, NaN for
        no neighbour; hits bool, whether it has the query's class and a distance that is not NaN.
    """
    bits = (keys >> 32).astype(np.int32)
    positions = np.where(bits == _BEHIND, -1, (keys & 0xFFFFFFFF) >> 1)
    return positions, bits.view(np.float32), (keys & 1).astype(bool) & (bits <= _INFINITY)


def first_hit_ranks(
    gallery: Iterable[Shard],
    model: str,
    ids: np.ndarray,
    embeddings: np.ndarray,
    classes: np.ndarray,
    pool: ThreadPoolExecutor,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Counts how many neighbours there are up to the first of the query's class.

    For the few queries that have no such neighbour among the nearest: it goes through the gallery
    twice, but keeps one number per query.

    Args:
        gallery: Can be gone through more than once.
        model: Whose embeddings.
        ids: Object array [Q].
        embeddings: float32 [Q, D].
        classes: int32 [Q].
        pool: As `search_threads` gives it.
        groups: As for `query_tiles`.

    Returns:
        float64 [Q], from 1; infinity where no neighbour has the query's class, or only at NaN.
    """
    tiles = query_tiles(embeddings, classes, np.ones(len(ids), np.int64), groups)
    nearest = np.full(len(ids), _NOTHING)
    nearer = np.zeros(len(ids), np.int64)

    def find(tile: QueryTile, gallery_tile: GalleryTile, distances: np.ndarray) -> None:
        hits = gallery_tile.classes == tile.classes
        hits &= ~np.isnan(distances)
        some = np.flatnonzero(hits.any(axis=1))
        keys = _keys(distances.view(np.int32)[some], gallery_tile.position, hits[some])
        keys[~hits[some]] = _NOTHING
        rows = tile.rows[some]
        nearest[rows] = np.minimum(nearest[rows], keys.min(axis=1, initial=_NOTHING))

    def count(tile: QueryTile, gallery_tile: GalleryTile, distances: np.ndarray) -> None:
        bits, limits = distances.view(np.int32), nearest[tile.rows, None]
        limit_bits = (limits >> 32).astype(np.int32)
        before = np.count_nonzero(bits < limit_bits, axis=1)
        tied = (
            np.arange(gallery_tile.position, gallery_tile.position + gallery_tile.size)
            < (limits & 0xFFFFFFFF) >> 1
        )
        nearer[tile.rows] += before + np.count_nonzero(tied & (bits == limit_bits), axis=1)

    for visit in (find, count):
        for shard in gallery:
            sweep(tiles, tiles_of(shard, model), shard.rows_of(ids), visit, pool)
    return np.where(nearest == _NOTHING, np.inf, nearer + 1.0)


def _keys(bits: np.ndarray, position: int, hits: np.ndarray) -> np.ndarray:
    """Keys of whole rows: int64 [Q, G]."""
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(position, position + bits.shape[1]) << 1
    keys |= hits
    return keys
