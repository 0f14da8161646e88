"""Intervals of the change of a mean score between two models, by resampling classes.

Both models answer the same queries, so only the difference of a query's two scores matters: what
makes a query easy or hard for both falls out. Queries of one class are not independent, whether the
classes were seen in training or not: an image that is hard to tell from another class is hard in
company. So whole classes are resampled (the cluster bootstrap), and a class is drawn with all its
queries or not at all.

With class c of C having n_c queries and the sum d_c of their differences, the change is
D = Σ d_c / Σ n_c. Class c lies u_c = d_c − n_c D off it, and has the share h_c = n_c / Σ n_c of the
queries. Nothing but n_c and d_c is needed.

Two things go wrong with few classes, or where few classes have most of the queries. The sum of
u_c² is too small, since D follows the classes that it is the mean of. So, as CR2 does, each is
divided by 1 − h_c: se² = Σ u_c² / (1 − h_c) / (Σ n_c)², without a bias if queries are alike and
independent (Bell and McCaffrey, Survey Methodology 28, 2002). And se itself is a matter of chance,
as with f degrees of freedom, 1 / f = Σ h² + (Σ g)² − Σ g² with g_c = h_c² / (1 − h_c) (the same;
Imbens and Kolesár, Review of Economics and Statistics 98, 2016). f is C − 1 for classes of one
size, and falls to 1 as one of them takes all queries.

So an end of the interval is the farther from D of two:

- Student's, D ∓ t · se with t of f degrees of freedom;
- that of the bootstrap-t (Hesterberg 2015, arXiv:1411.5279), which follows the skew of the changes:
  each resample, in which class c was drawn w_c times, has a t, of its own change and its own
  standard error. The end is D less a quantile of these t, times se. A resample in which models
  agree, or that is one class many times, has next to no error: its square counts as a tenth of the
  whole's at least.

Fewer than `LEAST_CLASSES` classes have no interval: two models mostly agree, and so few classes
often show no difference at all where there is one.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

SEED = 20_150_515
POWER = 0.8  # of a test that has enough classes
LEAST_CLASSES = 5

_FEWEST_RESAMPLES, _MOST_RESAMPLES = 2_000, 20_000
_BEYOND_END = 20  # resamples that should lie outside an end
_WEIGHTS_AT_ONCE = 1 << 21
_LEAST_ERROR = 0.1  # of a resample, squared, as a part of the whole's


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
        and everywhere with fewer than `LEAST_CLASSES` classes.

    Example:
        >>> change_intervals(np.array([2, 2, 2, 2, 9]), np.zeros((5, 1))).tolist()
        [[0.0], [0.0]]
    """
    if len(counts) < LEAST_CLASSES:
        return np.full((2, sums.shape[1]), np.nan)
    counts = counts.astype(np.float64)
    total = counts.sum()
    with np.errstate(invalid="ignore", over="ignore"):
        change = sums.sum(axis=0) / total
        off = sums - counts[:, None] * change
        error = np.sqrt((np.square(off) / (1 - counts / total)[:, None]).sum(axis=0)) / total
    quantile = stats.t.ppf((1 + level) / 2, degrees_of_freedom(counts))
    t = _resampled_t(counts, off, resamples or resamples_for(level), seed)
    lower, upper = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ends = change + error * np.stack([-np.maximum(upper, quantile), -np.minimum(lower, -quantile)])
    ends[:, ~np.isfinite(ends).all(axis=0)] = np.nan
    return ends


def degrees_of_freedom(counts: np.ndarray) -> float:
    """Those of the standard error, from 1 to C − 1.

    Args:
        counts: float64 [C], the queries of each class.

    Example:
        >>> round(degrees_of_freedom(np.full(12, 7.0)), 9)
        11.0
    """
    share = counts / counts.sum()
    pulled = share**2 / (1 - share)
    return float(1 / ((share**2).sum() + pulled.sum() ** 2 - (pulled**2).sum()))


def _resampled_t(counts: np.ndarray, off: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The t of each resample, float64 [resamples, S]; memory holds one block of resamples."""
    classes, scores = off.shape
    inflation = classes / (classes - 1)
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // (classes + 3 * scores))
    t = np.empty((resamples, scores))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # What one matrix product adds up: n, n², u, n·u and u² of the classes that are drawn.
        n = counts[:, None]
        table = np.concatenate([n, n**2, off, n * off, off**2], axis=1)
        least = _LEAST_ERROR * inflation * np.square(off).sum(axis=0) / counts.sum() ** 2
        for start in range(0, resamples, at_once):
            rows = t[start : start + at_once]
            drawn = draw_weights(random, len(rows), classes) @ table
            queries, squares = drawn[:, :1], drawn[:, 1:2]
            change, mixed, apart = np.split(drawn[:, 2:], 3, axis=1)
            change = change / queries
            # Σ w (u − n · change)², what the resample's classes lie off its own change.
            apart = apart - 2 * change * mixed + change**2 * squares
            rows[:] = change / np.sqrt(np.maximum(inflation * apart / queries**2, least))
    t[:, least == 0] = 0  # all classes change alike
    return t


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
