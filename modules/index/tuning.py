"""Which index a gallery gets: what its recall is, measured against exact search, decides.

The measure. Queries are vectors of the gallery, drawn by the seed; none finds itself. A neighbour
that an index returns counts as found if it is no farther than the k-th of the exact search
(`modules.retrieval.find_neighbours`): of images at equal distance either is right.

    recall@k = found among the k returned / k, mean over the queries

The choice depends on counted comparisons, not on a clock, so a gallery gets the same index each
time. The latency is measured besides, for people.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from modules.index.building import make_index, sample_rows, threads
from modules.index.vectors import Vectors
from modules.retrieval import Shard, find_neighbours

if TYPE_CHECKING:
    import faiss

    from modules.settings import IndexKind, IndexSettings, IndexStorage

# An index that compares a query with more than this share of the gallery saves too little.
WORTHWHILE = 1 / 4
_ROUNDING = 1e-6  # of squared distances between unit vectors in float32
_TIMED = 50  # queries
_WIDEST = 1024  # candidates of hnsw


@dataclasses.dataclass(frozen=True)
class TunedIndex:
    """An index, and what is known of it.

    Attributes:
        index: Trained, filled and tuned: a `faiss.Index`.
        kind: See `make_index`.
        storage: See `make_index`.
        parameters: Of the index, and `compared`: the share of the gallery, centres of lists
            included, that a query is compared with.
        k: At which the recall was measured; the gallery may be smaller than what was asked for.
        recall: Of the exact k nearest.
        latency_ms: Of one query in one thread, median.
        instead: Why it is not what was asked for; empty if it is.
    """

    index: faiss.Index
    kind: IndexKind
    storage: IndexStorage
    parameters: dict[str, int | float | str | bool]
    k: int
    recall: float
    latency_ms: float
    instead: str = ""


class Sample:
    """Queries from a gallery with their exact neighbours.

    Attributes:
        k: How many neighbours.
        queries: float32 [Q, D].
    """

    def __init__(self, vectors: Vectors, k: int, queries: int, seed: int) -> None:
        """Searches exactly.

        Args:
            vectors: The gallery, at least two.
            k: How many neighbours; at most as many as there are others.
            queries: How many to draw, if there are so many.
            seed: Of the sample.
        """
        self.k = min(k, len(vectors) - 1)
        self._vectors = vectors
        self._rows = sample_rows(len(vectors), queries, seed)
        self.queries = vectors.take(self._rows)
        self._exact, _ = find_neighbours(
            self._rows.astype(object), self.queries, _shards(vectors), self.k
        )
        # Computed as those of other neighbours are, since the search has a rounding of its own.
        query = np.repeat(np.arange(len(self._rows)), self.k)
        apart = self._apart(self._exact.ravel(), query)
        self._farthest = apart.reshape(-1, self.k).max(axis=1)

    def recall(self, index: faiss.Index) -> float:
        """The share of the exact k nearest that an index finds."""
        _, found = index.search(self.queries, self.k + 1)
        found = without_own(found, self._rows)
        right = (found[:, :, None] == self._exact[:, None, :]).any(axis=2)
        # Another image at the same distance is as good as the one that the exact search names.
        query, place = np.nonzero(~right & (found >= 0))
        apart = self._apart(found[query, place], query)
        right[query, place] = apart <= self._farthest[query] + _ROUNDING
        return float(right.mean())

    def _apart(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Squared distances between rows of the gallery and queries, by their numbers."""
        difference = self._vectors.take(rows) - self.queries[query]
        found: np.ndarray = np.einsum("nd,nd->n", difference, difference)
        return found


def latency_ms(index: faiss.Index, queries: np.ndarray, k: int) -> float:
    """Milliseconds of one query in one thread, the median of some; k neighbours."""
    times = []
    with threads(1):
        for query in queries[:_TIMED]:
            start = time.perf_counter()
            index.search(query[None], k)
            times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times)), 4)


def choose_index(vectors: Vectors, settings: IndexSettings) -> TunedIndex:
    """Makes the index that a gallery gets.

    `auto`: flat up to `exact_up_to` images; above it ivf, or hnsw where ivf must compare too much,
    or flat where both must. Whatever does not reach `min_recall` is replaced by flat, and that, if
    its storage costs too much, by float32, whose recall is 1 by definition.

    Args:
        vectors: The gallery.
        settings: `[index]`.

    Returns:
        An index whose recall is at least `min_recall`.
    """
    kinds = _kinds(len(vectors), settings)
    if len(vectors) < 2 or (settings.storage == "float32" and kinds == ["flat"]):
        return _exact(vectors, settings, [])
    sample = Sample(vectors, settings.k, settings.queries, settings.seed)
    reasons: list[str] = []
    for kind in kinds:
        if kind == "flat" and settings.storage == "float32":
            break
        tuned = _tune(vectors, kind, sample, settings)
        compared = float(tuned.parameters["compared"])
        if tuned.recall < settings.min_recall:
            reasons.append(
                f"{kind} with {settings.storage} finds {tuned.recall:.4f} of the {tuned.k} nearest"
            )
        elif settings.kind == "auto" and kind != "flat" and compared > WORTHWHILE:
            reasons.append(f"{kind} compares a query with {compared:.0%} of the gallery")
        else:
            return dataclasses.replace(tuned, instead=_note(reasons, settings, tuned))
        del tuned  # before the next is made: each may be as large as the memory allows
    return _exact(vectors, settings, reasons)


def without_own(found: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Takes each query's own row out of what was found.

    Args:
        found: int64 [Q, K + 1], row numbers, nearest first.
        own: int64 [Q].

    Returns:
        int64 [Q, K]: without the own row, or without the last where it was not found.
    """
    hits = found == own[:, None]
    drop = np.where(hits.any(axis=1), hits.argmax(axis=1), found.shape[1] - 1)
    keep = np.arange(found.shape[1]) != drop[:, None]
    return found[keep].reshape(len(found), -1)


def _kinds(images: int, settings: IndexSettings) -> list[IndexKind]:
    """What to try, in this order."""
    if settings.kind == "auto":
        return ["flat"] if images <= settings.exact_up_to else ["ivf", "hnsw", "flat"]
    return [settings.kind] if settings.kind == "flat" else [settings.kind, "flat"]


def _exact(vectors: Vectors, settings: IndexSettings, reasons: list[str]) -> TunedIndex:
    """Its recall is 1 by definition, so only the latency is measured."""
    index = make_index(vectors, "flat")
    k = min(settings.k, len(vectors) - 1)
    queries = vectors.take(sample_rows(len(vectors), _TIMED, settings.seed))
    latency = latency_ms(index, queries, max(k, 1))
    tuned = TunedIndex(index, "flat", "float32", {"compared": 1.0}, k, 1.0, latency)
    return dataclasses.replace(tuned, instead=_note(reasons, settings, tuned))


def _note(reasons: list[str], settings: IndexSettings, tuned: TunedIndex) -> str:
    """Says what took the place of what was asked for."""
    if not reasons:
        return ""
    text = (
        f"{'; '.join(reasons)} (min_recall {settings.min_recall}), so it is {tuned.kind} with "
        f"{tuned.storage}"
    )
    logging.warning("IndexGen: %s.", text)
    return text


def _tune(vectors: Vectors, kind: IndexKind, sample: Sample, settings: IndexSettings) -> TunedIndex:
    """Widens the search until the recall is reached, or no wider one is left."""
    index = make_index(vectors, kind, settings.storage, settings.seed)
    recall, compared = 0.0, 1.0
    for _ in _widths(index, kind, sample.k):
        _reset(kind)
        recall = sample.recall(index)
        compared = _compared(index, kind, len(sample.queries))
        compared /= len(sample.queries) * index.ntotal
        if recall >= settings.min_recall:
            break
    return TunedIndex(
        index,
        kind,
        settings.storage,
        {**_parameters(index, kind), "compared": round(compared, 5)},
        sample.k,
        recall,
        latency_ms(index, sample.queries, sample.k),
    )


def _widths(index: Any, kind: IndexKind, k: int) -> Iterator[None]:
    """Sets one search parameter after the other, each twice as wide."""
    width = 1
    if kind == "flat":
        yield
    elif kind == "ivf":
        while width < 2 * index.nlist:
            index.nprobe = min(width, index.nlist)
            yield
            width *= 2
    else:
        while width <= max(_WIDEST, 2 * k):
            if width > k:
                index.hnsw.efSearch = width
                yield
            width *= 2


def _parameters(index: Any, kind: IndexKind) -> dict[str, int | float | str | bool]:
    if kind == "ivf":
        return {"lists": index.nlist, "nprobe": index.nprobe}
    if kind == "hnsw":
        return {"neighbours": index.hnsw.nb_neighbors(1), "ef_search": index.hnsw.efSearch}
    return {}


def _reset(kind: IndexKind) -> None:
    if kind != "flat":
        _statistics(kind).reset()


def _compared(index: Any, kind: IndexKind, queries: int) -> int:
    """Vectors that the queries since `_reset` were compared with, centres of lists included."""
    if kind == "flat":
        return queries * int(index.ntotal)
    centres = queries * int(index.nlist) if kind == "ivf" else 0
    return centres + int(_statistics(kind).ndis)


def _statistics(kind: IndexKind) -> Any:
    """What faiss counts, in this process."""
    import faiss

    counted: Any = faiss.cvar
    return counted.indexIVF_stats if kind == "ivf" else counted.hnsw_stats


def _shards(vectors: Vectors) -> Iterator[Shard]:
    """The gallery for the exact search: an id is a row number."""
    for first, part in vectors.parts():
        ids = np.arange(first, first + len(part)).astype(object)
        yield Shard(first, ids, np.zeros(len(part), np.int32), {"": part})
