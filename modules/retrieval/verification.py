"""Pair verification ("the same class or not?") from histograms of pairwise distances, in numpy.

A pair of examples is accepted when its squared distance is below a threshold. Over all thresholds,

- TAR (true accept rate) = accepted pairs of one class / pairs of one class,
- FAR (false accept rate) = accepted pairs of two classes / pairs of two classes.

| metric          | formula                                                                     |
|-----------------|-----------------------------------------------------------------------------|
| `roc_auc`       | probability that a pair of one class is nearer than a pair of two; ties ½    |
| `tar@far=x`     | the largest TAR of a threshold with FAR ≤ x; no interpolation                |
| `eer`           | the error rate where FAR = 1 − TAR, on the line between the two nearest      |
|                 | thresholds (ISO/IEC 19795-1)                                                 |
| `eer_threshold` | the smallest threshold at which FAR ≥ 1 − TAR, a squared distance            |

N examples make N² pairs, too many to sort, so they are counted in bins; TFMA's own AUC is binned
too. A bin is a value of the upper 19 bits of the float32: non-negative floats ascend as their bits
do, so each bin is a range of distances, [x, x·(1 + 2⁻¹¹)) or narrower, at any scale. Two distances
in one bin count as equal; nothing else is approximate. A histogram takes 8 MB, whatever N is, and
histograms are merged by adding them.
"""

from __future__ import annotations

import numpy as np

from modules.retrieval.definitions import FALSE_ACCEPT_RATES, VERIFICATION_NAMES

BIN_SHIFT = 12  # of 23 bits of mantissa, 11 are kept
_INFINITY = 0x7F800000 >> BIN_SHIFT  # the bits of float32 infinity; NaN lies above
BINS = _INFINITY + 1  # the last bin holds infinity and NaN: farther than every distance
_PAIRS_AT_ONCE = 1 << 20  # so the working arrays stay in the caches


def new_histogram() -> np.ndarray:
    """Makes an empty histogram: int64 [2, BINS], row 0 pairs of one class, row 1 of two."""
    return np.zeros((2, BINS), dtype=np.int64)


def add_pairs(histogram: np.ndarray, squared_distances: np.ndarray, same: np.ndarray) -> None:
    """Counts pairs, in place; many at a time are faster than few.

    Args:
        histogram: As `new_histogram` makes it.
        squared_distances: float32, any shape. Only the magnitude counts, since rounding can fall
            below 0; NaN and infinity are the farthest.
        same: bool of the same shape: whether both examples of the pair have one class.

    Raises:
        ValueError: The shapes or dtypes are not these.
    """
    if (
        squared_distances.shape != same.shape
        or squared_distances.dtype != np.float32
        or same.dtype != np.bool_
    ):
        raise ValueError(
            "pairs need float32 distances and bool `same` of one shape, got "
            f"{squared_distances.dtype} {squared_distances.shape} and {same.dtype} {same.shape}"
        )
    distances, flags = squared_distances.reshape(-1), same.reshape(-1)
    for start in range(0, distances.size, _PAIRS_AT_ONCE):
        keys = distances[start : start + _PAIRS_AT_ONCE].view(np.uint32) & np.uint32(0x7FFFFFFF)
        keys >>= np.uint32(BIN_SHIFT)
        np.minimum(keys, _INFINITY, out=keys)
        # The class bit below the bin: one counting pass instead of two.
        keys <<= np.uint32(1)
        keys |= ~flags[start : start + _PAIRS_AT_ONCE]
        counts = np.bincount(keys.view(np.int32))
        for row in range(2):
            of_row = counts[row::2]
            histogram[row, : len(of_row)] += of_row


def verification_metrics(histogram: np.ndarray) -> dict[str, float]:
    """Computes the metrics of the module's table.

    Whether pairs were counted once or in both orders makes no difference: all are ratios.

    Args:
        histogram: int64 [2, BINS], filled by `add_pairs`.

    Returns:
        One value per name of `VERIFICATION_NAMES`; all NaN without a pair of one class or without
        a pair of two.
    """
    filled = np.flatnonzero(histogram.any(axis=0))
    positives, negatives = histogram[:, filled].astype(np.float64)
    if not positives.any() or not negatives.any():
        return dict.fromkeys(VERIFICATION_NAMES, float("nan"))
    # Rates behind each filled bin, the threshold being its upper edge; before the first both are 0.
    tar = np.concatenate([[0], np.cumsum(positives) / positives.sum()])
    far = np.concatenate([[0], np.cumsum(negatives) / negatives.sum()])
    # The trapezoid rule on these points is the probability with ties counted half.
    values = [float(np.trapezoid(tar, far))]
    values += [float(tar[far <= rate].max()) for rate in FALSE_ACCEPT_RATES]
    # FAR − FRR ascends from −1 to 1; it crosses 0 between the points behind − 1 and behind.
    difference = far - (1 - tar)
    behind = int(np.argmax(difference >= 0))
    before = behind - 1
    share = -difference[before] / (difference[behind] - difference[before])
    eer = far[before] + share * (far[behind] - far[before])
    edge = np.array(filled[before] + 1, np.uint32) << np.uint32(BIN_SHIFT)
    return dict(
        zip(VERIFICATION_NAMES, [*values, float(eer), float(edge.view(np.float32))], strict=True)
    )
