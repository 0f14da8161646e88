"""Intervals of the change of a mean score between two models, by resampling classes.

Both models answer the same queries, so only the difference of a query's two scores matters: what
makes a query easy or hard for both falls out. Queries of one class are not independent, whether the
classes were seen in training or not: an image that is hard to tell from another class is hard in
company. So whole classes are resampled (the cluster bootstrap), and a class is drawn with all its
queries or not at all.

With class c of C having n_c queries and the sum d_c of their differences, the change is
D = Σ d_c / Σ n_c, and that of a resample in which c was drawn w_c times is Σ w_c d_c / Σ w_c n_c: a
matrix product for all scores and resamples at once. Nothing but n_c and d_c is needed.

The quantiles of the resamples alone are too narrow with few classes: their variance lacks the
factor C / (C − 1), and they follow the normal distribution where Student's is due. So an end is the
farther from D of two:

- the *expanded percentile*, the quantile Φ(−t · √(C / (C − 1))) of the resamples with Student's
  quantile t of C − 1 degrees of freedom (Hesterberg 2015, arXiv:1411.5279, section 4.4): it follows
  the skew of the differences;
- Student's own end D − t · se, with se² = C / (C − 1) · Σ (d_c − D n_c)² / (Σ n_c)²: with very few
  classes the quantile that is asked for lies outside everything that resamples can show.

The bootstrap-t of the same paper is not used. Two models mostly agree, so with few classes many
resamples hold no difference at all; their standard error is 0 and their t infinite.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

SEED = 20_150_515
POWER = 0.8  # of a test that has enough classes

_FEWEST_RESAMPLES, _MOST_RESAMPLES = 2_000, 20_000
_BEYOND_END = 20  # resamples that should lie outside an end
_WEIGHTS_AT_ONCE = 1 << 21


def resamples_for(level: float) -> int:
    """How many resamples an interval of this level takes: 2,000 at 0.95, more for rarer tails."""
    wanted = math.ceil(round(2 * _BEYOND_END / (1 - level), 6))
    return min(max(_FEWEST_RESAMPLES, wanted), _MOST_RESAMPLES)


def change_intervals(
    counts: np.ndarray,
    sums: np.ndarray,
    level: float = 0.95,
    *,
    resamples: int | None = None,
    seed: int = SEED,
) -> np.ndarray:
    """Finds the interval of the change of each score.

    Args:
        counts: int64 or float64 [C], n_c: how many queries the class has, at least 1.
        sums: float64 [C, S], d_c: per score the sum of candidate − baseline over these queries.
        level: Part of intervals that hold the true change, above 0 and below 1.
        resamples: Default: `resamples_for(level)`.
        seed: The same seed gives the same resamples for the same C.

    Returns:
        float64 [2, S], the lower and the upper ends. NaN for a score with a NaN or infinite sum,
        and everywhere with fewer than two classes: nothing can be resampled.

    Example:
        >>> change_intervals(np.array([2, 2]), np.array([[0.0], [0.0]])).tolist()
        [[0.0], [0.0]]
    """
    classes = len(counts)
    if classes < 2:
        return np.full((2, sums.shape[1]), np.nan)
    counts = counts.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        change = sums.sum(axis=0) / counts.sum()
        apart = np.square(sums - counts[:, None] * change).sum(axis=0)
    inflation = classes / (classes - 1)
    quantile = stats.t.ppf((1 + level) / 2, classes - 1)
    half = quantile * np.sqrt(inflation * apart) / counts.sum()
    tail = stats.norm.cdf(-quantile * math.sqrt(inflation))
    means = _resampled_means(counts, sums, resamples or resamples_for(level), seed)
    lower, upper = np.quantile(means, [tail, 1 - tail], axis=0)
    ends = np.stack([np.minimum(lower, change - half), np.maximum(upper, change + half)])
    ends[:, ~np.isfinite(ends).all(axis=0)] = np.nan
    return ends


def _resampled_means(counts: np.ndarray, sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64 [resamples, S]; memory holds the weights of one block of resamples."""
    classes = len(counts)
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // classes)
    means = np.empty((resamples, sums.shape[1]))
    for start in range(0, resamples, at_once):
        rows = means[start : start + at_once]
        weights = draw_weights(random, len(rows), classes)
        with np.errstate(invalid="ignore", over="ignore"):
            rows[:] = (weights @ sums) / (weights @ counts)[:, None]
    return means


def draw_weights(random: np.random.Generator, resamples: int, classes: int) -> np.ndarray:
    """How often each class is in each resample: float64 [resamples, classes], rows sum to C."""
    drawn = random.integers(classes, size=(resamples, classes))
    drawn += np.arange(resamples)[:, None] * classes
    weights = np.bincount(drawn.ravel(), minlength=resamples * classes)
    return weights.reshape(resamples, classes).astype(np.float64)


def detectable(half_width: float, level: float) -> float:
    """The least difference that a test of this interval finds with the probability `POWER`.

    Args:
        half_width: From the change to the end of the interval that is tested.
        level: Of the interval.
    """
    return half_width * float(1 + stats.norm.ppf(POWER) / stats.norm.ppf((1 + level) / 2))


def classes_needed(classes: int, half_width: float, difference: float, level: float) -> int:
    """How many classes would find a difference with the probability `POWER`.

    The width of an interval falls with the root of their number.

    Args:
        classes: How many there are now.
        half_width: As of `detectable`, with these classes.
        difference: What is to be found, above 0.
        level: Of the interval.

    Example:
        >>> classes_needed(100, half_width=0.02, difference=0.01, level=0.95)
        817
    """
    return math.ceil(classes * (detectable(half_width, level) / difference) ** 2)
