"""Exact nearest neighbours and per-query retrieval scores, in numpy.

Definitions. There are N queries. The gallery of a query is the same set without the query itself,
excluded by its `id`. Distances are squared L2 in float32; neighbours are ordered by
(distance, id). R is the number of other examples with the query's label, hit_i is 1 when the i-th
neighbour has the query's label and 0 otherwise, hits@k = hit_1 + … + hit_k.

| score                | formula                                                              |
|----------------------|----------------------------------------------------------------------|
| `precision@k`        | hits@k / k                                                           |
| `precision_capped@k` | hits@k / min(k, R)                                                   |
| `recall@k`           | 1 if hits@k > 0 else 0 (the metric-learning sense)                   |
| `r_precision`        | hits@R / R                                                           |
| `map@r`              | (1/R) Σ_{i≤R} (hits@i / i) · hit_i (Musgrave et al., arXiv:2003.08505) |

A query with R = 0 has no score: NaN here, left out of every mean, and counted. A gallery smaller
than k counts its missing places as misses. A distance that is NaN comes after every other and is
never a hit, so a model that returns NaN scores 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# Per-query counts, reported as sums; every other score is reported as a mean.
COUNTS = ("queries", "excluded_queries", "non_finite_embeddings")

QUERY_BLOCK = 256  # large enough for a fast matrix product, small enough for the caches
GALLERY_BLOCK = 16_384
_CELLS = 1 << 23  # query rows × (gallery block + neighbours) held at once: 64 MiB of keys
_NOT_A_NEIGHBOUR = np.iinfo(np.int64).max  # the query itself: behind every distance, NaN included


class Gallery(NamedTuple):
    """Labelled embeddings, ordered by id: a position in the gallery is a rank among the ids.

    Attributes:
        ids: Object array [N] of bytes or str, ascending, unique.
        labels: Object array [N] of bytes or str.
        classes: int64 [N], one number per distinct label.
        positives: int64 [N], R: the number of other members of the same class.
        embeddings: float32 [N, D].
        squared_norms: float32 [N].
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    positives: np.ndarray
    embeddings: np.ndarray
    squared_norms: np.ndarray


def make_gallery(ids: Sequence, labels: Sequence, embeddings: np.ndarray) -> Gallery:
    """Orders labelled embeddings by id.

    Args:
        ids: N unique ids, bytes or str.
        labels: N class names, bytes or str.
        embeddings: [N, D], any float dtype; converted to float32.

    Returns:
        The gallery, whatever the order of the arguments.

    Raises:
        ValueError: The lengths differ, the embeddings are not a matrix, or an id occurs twice.
    """
    ids = np.asarray(ids, dtype=object)
    labels = np.asarray(labels, dtype=object)
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 2 or not len(ids) == len(labels) == len(embeddings):
        raise ValueError(
            "retrieval needs one id, one label and one embedding row per example, got "
            f"{len(ids)} ids, {len(labels)} labels and embeddings of shape {embeddings.shape}"
        )
    order = np.argsort(ids, kind="stable")
    ids, labels = ids[order], labels[order]
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if repeated.size:
        raise ValueError(
            f"id {ids[repeated[0]]!r} occurs more than once in the evaluated split "
            f"({repeated.size} repetitions in all): a query is told from its gallery by its id, "
            "so make the `id` feature unique"
        )
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    embeddings = np.ascontiguousarray(embeddings[order])
    return Gallery(
        ids=ids,
        labels=labels,
        classes=classes,
        positives=sizes[classes] - 1,
        embeddings=embeddings,
        squared_norms=np.einsum("nd,nd->n", embeddings, embeddings),
    )


def score_names(ks: Iterable[int]) -> list[str]:
    """Names the per-query scores, without `COUNTS`, in the order of `score_queries`.

    Args:
        ks: The values of k, each at least 1, all different.

    Raises:
        ValueError: `ks` is empty, repeats a value, or holds something other than a positive int.
    """
    ks = list(ks)
    if not ks or len(set(ks)) != len(ks) or not all(type(k) is int and k >= 1 for k in ks):
        raise ValueError(f"ks must be different integers of at least 1, such as [1, 5, 10]: {ks}")
    at_k = [f"{name}@{k}" for name in ("precision", "precision_capped", "recall") for k in ks]
    return [*at_k, "r_precision", "map@r"]


def nearest(
    gallery: Gallery, start: int, stop: int, k: int, *, gallery_block: int = GALLERY_BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest neighbours of the gallery's rows [start, stop), themselves excluded.

    A neighbour is ranked by one integer, its distance's bits above its position: the bits of
    non-negative floats ascend as the floats do, so integer order is (distance, id) order, exact
    also where a tie straddles the k-th place. Blocks of the gallery are merged into a running
    selection, so memory grows with (stop − start) × (gallery_block + k), never with N².

    Distances are |q|² + |g|² − 2 q·g, clipped at 0: on unit vectors they carry the rounding of
    float32 near 1, about 1e-7.

    Args:
        gallery: The gallery, N rows.
        start: First query position.
        stop: Position behind the last query.
        k: Number of neighbours, 0 ≤ k ≤ N − 1.
        gallery_block: Number of gallery rows compared at once.

    Returns:
        Positions int64 [stop − start, k] and squared distances float32 [stop − start, k], ordered
        by (distance, id), NaN last.
    """
    total = len(gallery.ids)
    if not 0 <= k < total:
        raise ValueError(f"k must be in [0, {total - 1}] for a gallery of {total}, got {k}")
    best = np.empty((stop - start, 0), dtype=np.int64)
    for first in range(0, total, gallery_block):
        keys = _keys(gallery, start, stop, first, min(first + gallery_block, total))
        best = np.concatenate([best, keys], axis=1) if best.shape[1] else keys
        if best.shape[1] > k:
            best.partition(k, axis=1)
            best = best[:, :k]
    best.sort(axis=1)
    return best & 0xFFFFFFFF, (best >> 32).astype(np.int32).view(np.float32)


def _keys(gallery: Gallery, start: int, stop: int, first: int, last: int) -> np.ndarray:
    """Ranks the gallery rows [first, last) for the queries [start, stop): int64 [Q, G]."""
    with np.errstate(invalid="ignore"):  # infinite embeddings give NaN, which has its place
        distances = gallery.embeddings[start:stop] @ gallery.embeddings[first:last].T
        distances *= -2
        distances += gallery.squared_norms[start:stop, None]
        distances += gallery.squared_norms[first:last]
    np.maximum(distances, 0, out=distances)  # rounding can fall below 0; NaN stays NaN
    bits = distances.view(np.int32)
    bits &= 0x7FFFFFFF  # the sign of −0 and of NaN would break the order
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(first, last)
    own = np.arange(max(start, first), min(stop, last))
    keys[own - start, own - first] = _NOT_A_NEIGHBOUR
    return keys


def score_queries(
    gallery: Gallery,
    ks: Sequence[int],
    start: int = 0,
    stop: int | None = None,
    *,
    query_block: int = QUERY_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> dict[str, np.ndarray]:
    """Scores the gallery's rows [start, stop) as queries; the module's docstring has the formulas.

    Args:
        gallery: The gallery, which also holds the queries.
        ks: The values of k.
        start: First query position.
        stop: Position behind the last query; the end of the gallery by default.
        query_block: Number of queries compared at once.
        gallery_block: Number of gallery rows compared at once.

    Returns:
        One float64 array [stop − start] per name in `score_names(ks)`, NaN where R = 0, and one
        per name in `COUNTS`, each 0 or 1: `queries` is always 1, `excluded_queries` marks R = 0,
        `non_finite_embeddings` marks an embedding that holds NaN or infinity.
    """
    stop = len(gallery.ids) if stop is None else stop
    names = [*score_names(ks), *COUNTS]
    scores = np.empty((len(names), stop - start))
    deepest = max(max(ks), int(gallery.positives[start:stop].max(initial=0)))
    rows = max(1, min(query_block, _CELLS // (gallery_block + deepest)))
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        scores[:, first - start : last - start] = _score_block(
            gallery, ks, first, last, gallery_block
        )
    return dict(zip(names, scores, strict=True))


def _score_block(
    gallery: Gallery, ks: Sequence[int], start: int, stop: int, gallery_block: int
) -> np.ndarray:
    """Scores one block of queries: float64 [scores and counts, Q]."""
    relevant = gallery.positives[start:stop]
    depth = min(max(max(ks), int(relevant.max())), len(gallery.ids) - 1)
    positions, distances = nearest(gallery, start, stop, depth, gallery_block=gallery_block)
    hits = gallery.classes[positions] == gallery.classes[start:stop, None]
    hits &= ~np.isnan(distances)
    # hits_at[:, k] = hits@k, with a column for k = 0, so R = 0 needs no case of its own here.
    hits_at = np.zeros((stop - start, depth + 1), dtype=np.int32)
    np.cumsum(hits, axis=1, out=hits_at[:, 1:])

    at_k = [hits_at[:, min(k, depth)] for k in ks]
    some = np.maximum(relevant, 1)  # R, but safe to divide by: R = 0 becomes NaN below
    ranks = np.arange(1, depth + 1)
    counted = hits & (ranks <= relevant[:, None])
    precisions = np.divide(hits_at[:, 1:], ranks)
    means = np.stack(
        [
            *(count / k for count, k in zip(at_k, ks, strict=True)),
            *(count / np.minimum(k, some) for count, k in zip(at_k, ks, strict=True)),
            *((count > 0).astype(np.float64) for count in at_k),
            hits_at[np.arange(stop - start), relevant] / some,
            np.sum(precisions, axis=1, where=counted) / some,
        ]
    )
    excluded = relevant == 0
    means[:, excluded] = np.nan
    non_finite = ~np.isfinite(gallery.embeddings[start:stop]).all(axis=1)
    return np.vstack([means, np.ones_like(some), excluded, non_finite])
