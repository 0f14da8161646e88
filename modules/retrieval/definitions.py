"""What each retrieval metric is, what it is called, and which way is better.

There are queries and a gallery; often both are the same set. The neighbours of a query
are the gallery without the row that has the query's `id`, ordered by (distance, id). Where the
evaluation excludes rows of the same camera or the like, the rows with the query's label and the
same value are no neighbours either (`modules.retrieval.groups`). Distances are squared L2 in
float32. R is the number of neighbours with the query's label, hit_i is 1 when the
i-th neighbour has the query's label and 0 otherwise, hits@k = hit_1 + … + hit_k.

| score of a query     | formula                                                              |
|----------------------|----------------------------------------------------------------------|
| `precision@k`        | hits@k / k                                                           |
| `precision_capped@k` | hits@k / min(k, R)                                                   |
| `recall@k`           | 1 if hits@k > 0 else 0 (the metric-learning sense)                   |
| `ndcg@k`             | Σ_{i≤k} hit_i / log2(i+1), divided by Σ_{i≤min(k,R)} 1 / log2(i+1)    |
| `r_precision`        | hits@R / R                                                           |
| `map@r`              | (1/R) Σ_{i≤R} (hits@i / i) · hit_i (Musgrave et al., arXiv:2003.08505) |
| `mrr`                | 1 / i of the first hit, however deep it is; 0 if none is a hit       |
| `d_ap`               | mean squared distance to the R neighbours with the query's label     |
| `d_an`               | mean squared distance to all other neighbours                        |

Their means over the queries have the same names. A query with R = 0 has no score: NaN here, left
out of every mean, and counted. A gallery smaller than k counts its missing places as misses. A
distance that is NaN comes after every other and is never a hit, so a model that returns NaN scores
0; its `d_ap` and `d_an` are NaN.

| count                   | of the queries                                                    |
|-------------------------|-------------------------------------------------------------------|
| `queries`               | all, with any R                                                   |
| `excluded_queries`      | those with R = 0                                                  |
| `non_finite_embeddings` | those whose embedding holds NaN or infinity                       |

| metric of the set of queries | formula                                                      |
|------------------------------|--------------------------------------------------------------|
| `spread`                     | mean ‖e‖² − ‖mean e‖², the variance of the embeddings        |
| `collapsed`                  | 1 if `spread` < 5·10⁻⁴ else 0: all images share one point    |
| `non_finite_gallery`         | rows of a gallery of its own whose embedding holds NaN or    |
|                              | infinity; 0 if the queries are the gallery                   |
| `gallery_size`               | rows of the gallery                                          |

With a last blessed model to compare with, every score of queries has the interval of its change,
candidate − baseline, as `NAME lower` and `NAME upper`; `modules.retrieval.changes` says how.

| beside the interval   | what it is                                                          |
|-----------------------|---------------------------------------------------------------------|
| `resampled classes`   | how many classes were resampled; 0 if queries were                  |
| `resampled queries`   | how many queries of the slice's one class were resampled; 0 if      |
|                       | classes were                                                        |
| `interval level`      | part of such intervals that hold the true change                    |

On request `modules.retrieval.verification` adds how well a distance tells pairs of one label from
others (every query with each of its neighbours), `modules.retrieval.operating_threshold` the
threshold at a rate of false accepts, with its errors in every slice, and
`modules.retrieval.clustering` how well clusters of the queries agree with their labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

# Per-query counts, reported as sums; every other score of a query is reported as a mean.
COUNTS = ("queries", "excluded_queries", "non_finite_embeddings")

# Of the evaluated set as a whole: there are none per query and none per slice.
SET_NAMES = ("spread", "collapsed", "non_finite_gallery", "gallery_size")
# The same, on request.
FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001)
VERIFICATION_NAMES = (
    "roc_auc",
    *(f"tar@far={rate}" for rate in FALSE_ACCEPT_RATES),
    "eer",
    "eer_threshold",
)
CLUSTERING_NAMES = ("nmi", "ami")

# At the operating point, with `false_accept_rate`: one threshold, and the rates of errors at it, of
# each slice too.
OPERATING_THRESHOLD = "operating_threshold"
OPERATING_FAR, OPERATING_FRR = "operating_far", "operating_frr"
OPERATING_SLICE_NAMES = (OPERATING_FAR, OPERATING_FRR, "genuine_pairs", "impostor_pairs")
PAIR_LEVEL = 0.95  # of their intervals

# Variance of unit vectors (at most 1) under which all images practically share one point.
COLLAPSED_SPREAD = 5e-4

# A model with one of these above 0 is broken: no threshold of a user can bless it.
NEVER = ("non_finite_embeddings", "non_finite_gallery", "collapsed")
# Less is better; the others are the better the larger they are.
LOWER_IS_BETTER = frozenset({"eer", "d_ap", "excluded_queries", OPERATING_FAR, OPERATING_FRR})
# Distances at which errors balance or are rare: they follow the scale of the embedding, neither way
# is better.
WITHOUT_DIRECTION = frozenset({"eer_threshold", OPERATING_THRESHOLD})

# Of the intervals of the changes.
RESAMPLED_CLASSES, RESAMPLED_QUERIES = "resampled classes", "resampled queries"
INTERVAL_LEVEL = "interval level"

_LOWER, _UPPER = " lower", " upper"
_UNBOUNDED = (0.0, math.inf)
_RANGES = {
    **dict.fromkeys(("d_ap", "d_an", "spread", "eer_threshold", *COUNTS), _UNBOUNDED),
    **dict.fromkeys((OPERATING_THRESHOLD, "genuine_pairs", "impostor_pairs"), _UNBOUNDED),
    **dict.fromkeys(("non_finite_gallery", "gallery_size"), _UNBOUNDED),
    "ami": (-1.0, 1.0),
}


def metric_range(name: str, change: bool = False) -> tuple[float, float]:
    """The least and the largest value that a metric can have, infinity where nothing bounds it.

    Args:
        name: Of a metric; those at k, too.
        change: Of the difference between two models.
    """
    lower, upper = _RANGES.get(name, (0.0, 1.0))
    return (lower - upper, upper - lower) if change else (lower, upper)


def lower_end(name: str) -> str:
    """Names the lower end of the interval of a metric's change."""
    return name + _LOWER


def upper_end(name: str) -> str:
    """Names the upper end of the interval of a metric's change."""
    return name + _UPPER


def metric_of_end(name: str) -> str | None:
    """Which metric's change an end of an interval belongs to; None if it is no end."""
    for end in (_LOWER, _UPPER):
        if name.endswith(end):
            return name.removesuffix(end)
    return None


OPERATING_SET_NAMES = (
    OPERATING_THRESHOLD,
    *(
        end(name)
        for name in (OPERATING_THRESHOLD, OPERATING_FAR, OPERATING_FRR)
        for end in (lower_end, upper_end)
    ),
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
    at_k = [
        f"{name}@{k}" for name in ("precision", "precision_capped", "recall", "ndcg") for k in ks
    ]
    return [*at_k, "r_precision", "map@r", "mrr", "d_ap", "d_an"]


def set_names(verification: bool = False, clustering: bool = False) -> list[str]:
    """Names the metrics of the evaluated set as a whole.

    Args:
        verification: With `VERIFICATION_NAMES`, of `modules.retrieval.verification`.
        clustering: With `CLUSTERING_NAMES`, of `modules.retrieval.clustering`.
    """
    return [
        *SET_NAMES,
        *(VERIFICATION_NAMES if verification else ()),
        *(CLUSTERING_NAMES if clustering else ()),
    ]


def metric_names(
    ks: Iterable[int], verification: bool = False, clustering: bool = False
) -> list[str]:
    """Names every metric of the whole evaluated set; slices have `score_names(ks)` and `COUNTS`.

    Raises:
        ValueError: As `score_names`.
    """
    return [*score_names(ks), *COUNTS, *set_names(verification, clustering)]


def threshold_names(
    ks: Iterable[int],
    verification: bool = False,
    clustering: bool = False,
    operating_point: bool = False,
) -> list[str]:
    """Names the metrics of the whole evaluated set that a threshold may be put on.

    Args:
        ks: The values of k.
        verification: As for `set_names`.
        clustering: As for `set_names`.
        operating_point: Whether there is one.

    Raises:
        ValueError: As `score_names`.
    """
    names = [name for name in metric_names(ks, verification, clustering) if name not in NEVER]
    return [*names, *((OPERATING_THRESHOLD, *OPERATING_SLICE_NAMES) if operating_point else ())]


def slice_threshold_names(ks: Iterable[int], operating_point: bool = False) -> list[str]:
    """Names the metrics of every slice that a threshold may be put on.

    Raises:
        ValueError: As `score_names`.
    """
    names = [name for name in (*score_names(ks), *COUNTS) if name not in NEVER]
    return [*names, *(OPERATING_SLICE_NAMES if operating_point else ())]
