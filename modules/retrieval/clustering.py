"""How well clusters of the embeddings agree with the classes.

| metric | formula                                                                               |
|--------|---------------------------------------------------------------------------------------|
| `nmi`  | I(classes; clusters) / ½(H(classes) + H(clusters)), 0…1                                |
| `ami`  | the same, less what chance would give (Vinh, Epps and Bailey, JMLR 2010): 0 by chance, |
|        | 1 for agreement; `nmi` grows with the number of clusters, `ami` does not              |

The clusters are those of k-means, k being the number of classes, started by greedy k-means++
(Arthur and Vassilvitskii, SODA 2007). With few classes one start decides much and costs little, so
the best of several is taken: 10 up to 10 classes, 100 / k above, 1 from 100 on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from threadpoolctl import threadpool_limits

from modules.retrieval.definitions import CLUSTERING_NAMES

# A pass of k-means costs examples × classes × dimensions, and there are no more classes than
# examples: the cap bounds all of it.
MAX_EXAMPLES = 10_000
_MAX_PASSES = 100
_MAX_STARTS = 10


def clustering_metrics(
    embeddings: np.ndarray,
    labels: Sequence[bytes | str] | np.ndarray,
    seed: int = 0,
    max_examples: int = MAX_EXAMPLES,
) -> dict[str, float]:
    """Clusters the embeddings and compares the clusters with the classes.

    More than `max_examples` are thinned to that number, evenly along the given order. Give them
    ordered by id, so that the choice does not depend on how they were read. Where thinning leaves
    hardly more examples than classes, the values say little.

    Args:
        embeddings: [N, D], any float dtype; clustered in float32.
        labels: N class names, bytes or str.
        seed: Of k-means++.
        max_examples: The largest number of examples to cluster.

    Returns:
        One value per name of `CLUSTERING_NAMES`; all NaN without examples, or when one of the
        clustered embeddings holds NaN or infinity.

    Raises:
        ValueError: The embeddings are not a matrix with one row per label.
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    column = np.asarray(labels, dtype=object)
    if embeddings.ndim != 2 or len(embeddings) != len(column):
        raise ValueError(
            f"clustering needs one embedding row per label, got {len(column)} labels and "
            f"embeddings of shape {embeddings.shape}"
        )
    total = len(column)
    chosen = np.arange(min(total, max_examples)) * total // max(1, min(total, max_examples))
    embeddings = np.ascontiguousarray(embeddings[chosen])
    names, classes = np.unique(column[chosen], return_inverse=True)
    if not total or not np.isfinite(embeddings).all():
        return dict.fromkeys(CLUSTERING_NAMES, float("nan"))
    # One thread: with more, sums are added in any order and clusters may differ between runs.
    with threadpool_limits(1), warnings.catch_warnings():
        # A collapsed embedding has fewer distinct points than classes; the metrics show it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(
            len(names),
            n_init=max(1, min(_MAX_STARTS, 100 // len(names))),
            max_iter=_MAX_PASSES,
            random_state=seed,
        ).fit_predict(embeddings)
    return {
        "nmi": float(normalized_mutual_info_score(classes, clusters)),
        "ami": float(adjusted_mutual_info_score(classes, clusters)),
    }
