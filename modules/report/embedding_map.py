"""A map of embeddings: near points are near in the embedding."""

from __future__ import annotations

import numpy as np

_STEPS = 250  # behind the 250 that pull groups together
_DIMENSIONS = 50  # that t-SNE sees
_SEED = 0
_MANY = 2000  # points
FITTED = 5000  # points that t-SNE lays out; of more the rest is put between these
_AROUND = 5  # of them, between which a point is put
LEAST = 4  # points of a map


def draw_map(embeddings: np.ndarray) -> np.ndarray:
    """Puts embeddings on a plane: PCA to 50 dimensions, then t-SNE (van der Maaten, Hinton, 2008).

    Neighbourhoods mean something; the sizes of groups and the distances between them do not. The
    time of t-SNE grows with the points, so of many the first are laid out, and each other one is
    put at the median of the 5 that are nearest to it in the embedding.

    Args:
        embeddings: Finite float32 [N, D], N at least `LEAST`; of more than `FITTED` in random
            order.

    Returns:
        float32 [N, 2], within 0 and 1. The same embeddings give the same map.
    """
    from openTSNE import TSNE  # takes seconds to load
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    # The result depends on the number of threads.
    with threadpool_limits(1):
        reduced = embeddings
        if embeddings.shape[1] > _DIMENSIONS:
            size = min(_DIMENSIONS, *embeddings.shape)
            reduced = PCA(size, svd_solver="covariance_eigh").fit_transform(embeddings)
        first = reduced[:FITTED]
        tsne = TSNE(
            # Below the number of points; 30 is the usual one.
            perplexity=min(30.0, (len(first) - 1) / 3),
            # Exact sums where they cost less than the grid.
            negative_gradient_method="fft" if len(first) > _MANY else "bh",
            n_iter=_STEPS,
            n_jobs=1,
            random_state=_SEED,
        )
        points = np.asarray(tsne.fit(first))
    if len(embeddings) > FITTED:
        points = np.concatenate([points, _between(embeddings, points)])
    points = points - points.min(axis=0)
    return np.asarray(points / max(float(points.max()), 1e-12), np.float32)


def _between(embeddings: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where those come to lie that have no point yet: float64 [N − FITTED, 2]."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=_AROUND, algorithm="brute", n_jobs=1)
    near = found.fit(embeddings[:FITTED]).kneighbors(embeddings[FITTED:], return_distance=False)
    between: np.ndarray = np.median(points[near], axis=1)
    return between
