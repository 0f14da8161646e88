"""Exact nearest neighbours of a block of queries in a gallery that goes by in shards, in numpy.

A neighbour is one integer, its key (`modules.retrieval.keys`), so the order is (distance, id).

Queries are multiplied with the gallery tile by tile. A tile is what one factor of a matrix product
holds: up to `QUERY_TILE` queries, or up to `GALLERY_TILE` rows of a shard. Every product has the
same shape, padded where rows are missing. BLAS picks its kernel, and with it the rounding, by the
shape, so the distance of a pair does not depend on the shard and the block that it came in. Each
product is one thread's work, and several are at work at once. Most of a product is farther than
what is kept, and is not looked at again.

Distances are rounded to steps: 2⁻¹⁸ for queries of length 1, see `_steps`. What float32 cannot tell
apart is a tie then, and not an order that the last bits of an embedding decide.

`tests.benchmarks.bench_retrieval_search` compares the search with that of faiss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from modules.retrieval.keys import BEHIND, INFINITY, NOTHING, pack
from modules.retrieval.shards import GALLERY_TILE, GalleryTile

QUERY_TILE = 512  # queries: 512 × 512 products are 1 MiB and stay in the cache

_STEP_BITS = 18  # a query of length 1 tells squared distances apart by steps of 2⁻¹⁸
_KEPT = 1 << 23  # keys of one tile: with very many neighbours a tile has fewer queries
_WAITING = 8  # cells for each query, from which on they are picked
_DENSE = 1 / 4  # share of candidates from which a whole tile costs less than picking them out


class _Cells:
    """Single cells of a product, and what of its gallery tile is needed for their keys.

    Attributes:
        own: As for `QueryTile.distances`.
        cells: int64 [N], places in the product, which has a column for each row of the tile.
        values: float32 [N], the product there.
    """

    __slots__ = ("cells", "classes", "groups", "own", "position", "values")

    def __init__(
        self, gallery_tile: GalleryTile, own: np.ndarray, cells: np.ndarray, values: np.ndarray
    ) -> None:
        # Not the tile: its factor would stay in memory.
        self.position, self.classes = gallery_tile.position, gallery_tile.classes
        self.groups = gallery_tile.groups
        self.own, self.cells, self.values = own, cells, values


class QueryTile:
    """Some queries and the nearest neighbours found so far.

    Attributes:
        rows: int64 [Q], which queries of the search these are.
        classes: int32 [Q, 1]; a number below 0 is a label that the gallery does not have.
        at_work: The last visit that `start_sweep` has begun, as a tile is one thread's at a time.
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
        self.at_work: Future[None] | None = None
        self._groups = [] if groups is None else [column[:, None] for column in groups.T]
        squared_norms = np.einsum("nd,nd->n", embeddings, embeddings)[:, None]
        self._steps = _steps(squared_norms)
        self._offsets = squared_norms + self._steps
        # float32 [QUERY_TILE, D + 1]: the last column is multiplied with the gallery's |g|².
        self._factor = np.zeros((QUERY_TILE, embeddings.shape[1] + 1), np.float32)
        self._factor[: len(rows), :-1] = -2 * embeddings
        self._factor[: len(rows), -1] = 1
        self._depth = depth
        self._kept: list[np.ndarray] = []  # keys [Q, …], unordered
        self._waiting: list[_Cells] = []  # still to be kept
        self._waiting_cells = 0
        self._width = 0
        self._limit: np.ndarray | None = None  # bits of the farthest kept; None while all fit
        self._threshold: np.ndarray | None = None  # the same as a product, or a little more
        self._beyond = np.zeros((2, len(rows)), np.int64)

    def products(self, gallery_tile: GalleryTile, out: np.ndarray) -> np.ndarray:
        """|g|² − 2 q·g, with the distances' order: all that `select` needs of most pairs.

        Args:
            gallery_tile: Rows of the gallery.
            out: float32 [QUERY_TILE, GALLERY_TILE], overwritten.

        Returns:
            A view of `out`, float32 [Q, gallery_tile.size].
        """
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity have their place
            np.matmul(self._factor, gallery_tile.factor, out=out)
        return out[: len(self.rows), : gallery_tile.size]

    def distances(
        self, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray
    ) -> np.ndarray:
        """Squared distances, with `BEHIND` for what is no neighbour: itself, and its groups.

        |q|² + |g|² − 2 q·g, rounded to the query's steps.

        Args:
            gallery_tile: Rows of the gallery.
            own: int64 [Q], the row of the gallery tile that is the query itself; none outside it.
            products: As `products` gives them; overwritten.

        Returns:
            `products`, now float32 distances: not negative, NaN without a sign.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            products += self._offsets
            products -= self._steps
        np.maximum(products, 0, out=products)  # rounding can fall below 0; NaN stays NaN
        bits = products.view(np.int32)
        bits &= 0x7FFFFFFF  # the sign of NaN would break the order
        inside = np.flatnonzero((own >= 0) & (own < gallery_tile.size))
        bits[inside, own[inside]] = BEHIND
        for mine, theirs in zip(self._groups, gallery_tile.groups, strict=True):
            np.copyto(bits, BEHIND, where=mine == theirs)
        return products

    def select(self, gallery_tile: GalleryTile, own: np.ndarray, products: np.ndarray) -> None:
        """Keeps those rows of a gallery tile that may be among the `depth` nearest.

        Args:
            gallery_tile: Rows of the gallery.
            own: As for `distances`; kept for later, so it must stay as it is.
            products: As `products` gives them; may be overwritten.
        """
        if self._threshold is not None:
            admitted = np.greater(products, self._threshold)
            np.logical_not(admitted, out=admitted)  # so NaN is admitted
            cells = np.flatnonzero(admitted)
            if len(cells) < _DENSE * products.size:
                if len(cells):
                    values = products.reshape(-1)[cells]
                    self._waiting.append(_Cells(gallery_tile, own, cells, values))
                    self._waiting_cells += len(cells)
                if self._waiting_cells >= _WAITING * len(self.rows):
                    self._pick()
                return
        bits = self.distances(gallery_tile, own, products).view(np.int32)
        positions = np.arange(gallery_tile.position, gallery_tile.position + gallery_tile.size)
        self._keep(pack(bits, positions, gallery_tile.classes == self.classes))

    def _pick(self) -> None:
        """Keeps the cells that wait: a few of each tile cost as much as many of several."""
        if not self._waiting:
            return
        tiles, self._waiting, self._waiting_cells = self._waiting, [], 0
        sizes = np.array([len(tile.classes) for tile in tiles])
        of_cell = np.repeat(np.arange(len(tiles)), [len(tile.cells) for tile in tiles])
        rows, columns = np.divmod(np.concatenate([tile.cells for tile in tiles]), sizes[of_cell])
        at = (np.cumsum(sizes) - sizes)[of_cell] + columns  # among the rows of all the tiles
        with np.errstate(invalid="ignore", over="ignore"):
            distances = np.concatenate([tile.values for tile in tiles]) + self._offsets[rows, 0]
            distances -= self._steps[rows, 0]
        bits = np.maximum(distances, 0, out=distances).view(np.int32)
        bits &= 0x7FFFFFFF
        positions = np.array([tile.position for tile in tiles])[of_cell] + columns
        hits = np.concatenate([tile.classes for tile in tiles])[at] == self.classes[rows, 0]
        keys = pack(bits, positions, hits)
        keys[columns == np.stack([tile.own for tile in tiles])[of_cell, rows]] = NOTHING
        for number, mine in enumerate(self._groups):
            theirs = np.concatenate([tile.groups[number] for tile in tiles])
            keys[mine[rows, 0] == theirs[at]] = NOTHING
        order = np.argsort(rows, kind="stable")
        rows, counts = rows[order], np.bincount(rows, minlength=len(self.rows))
        result = np.full((len(self.rows), counts.max()), NOTHING)
        result[rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]] = keys[order]
        self._keep(result)

    def _keep(self, keys: np.ndarray) -> None:
        self._kept.append(keys)
        self._width += keys.shape[1]
        # Cutting costs as much as was gathered: waiting for twice the depth halves it.
        if self._width >= 2 * self._depth:
            self._cut()

    def _cut(self) -> None:
        """Keeps the nearest of all that was gathered, and counts what stood level with the last."""
        keys = np.concatenate(self._kept, axis=1)
        if keys.shape[1] > self._depth:
            keys.partition(self._depth - 1, axis=1)
            dropped, keys = keys[:, self._depth :], keys[:, : self._depth].copy()
            self._set_limit(keys, dropped)
        elif keys.shape[1] == self._depth and self._limit is None:
            self._set_limit(keys, keys[:, :0])
        self._kept, self._width = [keys], keys.shape[1]

    def _set_limit(self, kept: np.ndarray, dropped: np.ndarray) -> None:
        """Takes the farthest kept as the limit; the dropped at that distance are beyond it."""
        limit = kept.max(axis=1) >> 32
        # Behind the last distance nothing is a hit, so nothing there has to be counted.
        behind = np.where(limit <= INFINITY, limit + 1, 0) << 32
        counts = np.zeros((2, len(kept)), np.int64)
        some = np.flatnonzero(dropped.min(axis=1, initial=NOTHING) < behind)
        if some.size:
            tied = dropped[some] < behind[some, None]
            counts[0, some] = np.count_nonzero(tied, axis=1)
            counts[1, some] = np.count_nonzero(tied & (dropped[some] & 1 > 0), axis=1)
        if self._limit is not None:
            counts += np.where(limit == self._limit[:, 0], self._beyond, 0)
        self._beyond, self._limit = counts, limit.astype(np.int32)[:, None]
        # In float64, and larger by what the roundings of `distances` can take off.
        with np.errstate(invalid="ignore", over="ignore"):
            farthest = self._limit.view(np.float32) + self._steps.astype(np.float64)
            threshold = (farthest * (1 + 2**-22) - self._offsets).astype(np.float32)
            self._threshold = np.nextafter(threshold, np.float32(np.inf))

    def neighbours(self) -> np.ndarray:
        """The keys of the nearest, ascending: int64 [Q, W ≤ depth], `NOTHING` behind the last."""
        self._pick()
        if not self._kept:
            return np.empty((len(self.rows), 0), np.int64)
        self._cut()
        self._kept[0].sort(axis=1)
        return self._kept[0]

    def beyond(self) -> np.ndarray:
        """What else stands level with the last of `neighbours`, once they were asked for.

        Returns:
            int64 [2, Q]: how many more rows of the gallery are as far, and how many of them have
            the query's class. 0 where that distance is NaN.
        """
        return self._beyond


def _steps(squared_norms: np.ndarray) -> np.ndarray:
    """What is added to a squared distance and taken off again, so that it is rounded to a step.

    float32 has 24 bits: near 48 they end at 2⁻¹⁸. The step follows the query's length, so that the
    scale of the embedding does not matter. A distance far above the query's |q|² is rounded more
    coarsely, as by any float32.

    Args:
        squared_norms: float32 [Q, 1], |q|².

    Returns:
        float32 [Q, 1], 48 · 2ⁿ with 2ⁿ near |q|²; 0 where |q|² is 0 or not finite, for no step.

    >>> _steps(np.array([[0.99], [1.01]], np.float32)).tolist()
    [[48.0], [48.0]]
    """
    with np.errstate(invalid="ignore", over="ignore"):
        _, exponents = np.frexp(squared_norms * np.float32(1.5))
        steps = np.ldexp(np.float32(1.5 * 2 ** (23 - _STEP_BITS)), exponents - 1)
    return np.where(np.isfinite(steps) & (squared_norms > 0), steps, np.float32(0))


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


# A query tile, a gallery tile, `own` as for `QueryTile.distances`, and the products.
Visit = Callable[[QueryTile, GalleryTile, np.ndarray, np.ndarray], None]


def start_sweep(
    tiles: Iterable[QueryTile],
    gallery_tiles: Iterable[GalleryTile],
    own: np.ndarray,
    visit: Visit,
    pool: ThreadPoolExecutor,
) -> list[Future[None]]:
    """Begins to call `visit` with every query tile, every gallery tile and their products.

    Args:
        tiles: Queries; several are visited at once.
        gallery_tiles: Of one shard.
        own: int64 [queries], the shard's row that is the query itself, −1 if none is.
        visit: It may overwrite the products.
        pool: As `search_threads` gives it.

    Returns:
        One per query tile. The next shard may be started before they are done: a tile waits for
        itself, and no thread for the slowest tile.
    """
    gallery_tiles = list(gallery_tiles)

    def visit_tile(tile: QueryTile) -> None:
        out = np.empty((QUERY_TILE, GALLERY_TILE), np.float32)
        mine = own[tile.rows]
        for number, gallery_tile in enumerate(gallery_tiles):
            products = tile.products(gallery_tile, out)
            visit(tile, gallery_tile, mine - number * GALLERY_TILE, products)

    tiles = list(tiles)
    for tile in tiles:
        tile.at_work = pool.submit(call_after, tile.at_work, visit_tile, tile)
    return [tile.at_work for tile in tiles if tile.at_work]


def call_after(before: Future[None] | None, call: Callable[..., None], *arguments: Any) -> None:
    """Calls something when what was given to the pool before it is done."""
    if before is not None:
        before.result()
    call(*arguments)


def finish(futures: Iterable[Future[None]]) -> None:
    """Waits for what `start_sweep` has begun; raises what went wrong there."""
    for future in futures:
        future.result()


@contextmanager
def search_threads() -> Iterator[ThreadPoolExecutor]:
    """One thread per core that this process may use, each with a BLAS of its own.

    Threads of both kinds would collide. Affinity and the limits of a container count.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        yield pool
