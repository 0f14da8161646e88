"""Intervals of the operating point, by resampling classes.

A pair belongs to the classes of both its images, so whole classes are resampled: where class i was
drawn w_i times, a pair of the classes i and j counts w_i · w_j times. With m_ij pairs of two
classes, of which n_ij(t) have d < t, a resample has

    FAR(t) = Σ w_i w_j n_ij(t) / Σ w_i w_j m_ij

and its operating point is the largest t with FAR(t) ≤ rate. FAR and FRR, the false reject rate, are
resampled at the one threshold that was found: what is to be known is how it does on other people.

Where there are more classes than `accept_counts.UNITS`, parts of the classes are resampled. A pair
within a part counts as often as the part.

An end is the *expanded percentile* of the resamples (Hesterberg 2015, arXiv:1411.5279). Products of
weights vary more than single ones: where a few pairs of look-alike classes make all the false
accepts, these intervals are too wide, by up to a factor of √3 (Owen 2007, arXiv:0712.1111), and
never too narrow by it. FRR is a mean over pairs of one class each, so its interval is that of
`modules.retrieval.class_bootstrap`, with n_c pairs of a class and d_c rejected ones.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from modules.retrieval.accept_counts import AcceptTables
from modules.retrieval.class_bootstrap import (
    SEED,
    change_intervals,
    draw_weights,
    resamples_for,
)
from modules.retrieval.definitions import (
    OPERATING_FAR,
    OPERATING_FRR,
    OPERATING_THRESHOLD,
    PAIR_LEVEL,
    lower_end,
    upper_end,
)

_FEWEST_CLASSES = 3  # of two a resample often has one, and then no pair of two
_CELLS_AT_ONCE = 1 << 21


def operating_metrics(tables: AcceptTables, resamples: int | None = None) -> dict[str, float]:
    """Computes what there is to say of the operating point for all queries together.

    Args:
        tables: Of all queries.
        resamples: Default: as many as `class_bootstrap.resamples_for` says.

    Returns:
        The threshold and the ends of the three intervals, by the names of
        `modules.retrieval.definitions.OPERATING_SET_NAMES`. NaN where there is nothing to compute
        one from, or, for an end, with fewer than three classes, or where not one pair is an error.
    """
    threshold = float(tables.grid.edges[tables.grid.chosen])
    enough = tables.impostors.sum() * tables.grid.rate >= 1
    values = {OPERATING_THRESHOLD: threshold if enough else math.nan}
    ends = _ends(tables, resamples or resamples_for(PAIR_LEVEL))
    for name in (OPERATING_THRESHOLD, OPERATING_FAR, OPERATING_FRR):
        lower, upper = ends[name] if enough else (math.nan, math.nan)
        values[lower_end(name)], values[upper_end(name)] = lower, upper
    return values


def _ends(tables: AcceptTables, resamples: int) -> dict[str, tuple[float, float]]:
    of_two = tables.impostors.sum(axis=1) + tables.impostors.sum(axis=0)
    present = np.flatnonzero(of_two + tables.genuine)
    classes = len(present)
    if classes < _FEWEST_CLASSES:
        nothing = (math.nan, math.nan)
        return dict.fromkeys((OPERATING_THRESHOLD, OPERATING_FAR, OPERATING_FRR), nothing)
    rates = _resampled_rates(tables, present, resamples)
    quantile = stats.t.ppf((1 + PAIR_LEVEL) / 2, classes - 1)
    tail = float(stats.norm.cdf(-quantile * math.sqrt(classes / (classes - 1))))

    # The largest threshold within the rate lies at or above this one, and below the next.
    within = np.count_nonzero(rates <= tables.grid.rate, axis=1)
    edges, last = tables.grid.edges, len(tables.grid.edges) - 1
    lowest, highest = edges[np.maximum(within - 1, 0)], edges[np.minimum(within, last)]
    accepted = rates[:, tables.grid.chosen]
    return {
        OPERATING_THRESHOLD: (_lower(lowest, tail), _upper(highest, tail)),
        OPERATING_FAR: _of_far(accepted[np.isfinite(accepted)], tail),
        OPERATING_FRR: _of_frr(tables, resamples),
    }


def _of_far(rates: np.ndarray, tail: float) -> tuple[float, float]:
    """Without an error resampling has nothing to show."""
    if not rates.any():
        return math.nan, math.nan
    return _lower(rates, tail), _upper(rates, tail)


def _of_frr(tables: AcceptTables, resamples: int) -> tuple[float, float]:
    some = np.flatnonzero(tables.genuine)
    accepted = tables.genuine_steps[some, : tables.grid.chosen + 1].sum(axis=1)
    rejected = (tables.genuine[some] - accepted).astype(np.float64)
    if not rejected.any():
        return math.nan, math.nan
    ends = change_intervals(
        tables.genuine[some], rejected[:, None], PAIR_LEVEL, resamples=resamples
    )
    lower, upper = np.clip(ends[:, 0], 0, 1)
    return float(lower), float(upper)


def _lower(values: np.ndarray, tail: float) -> float:
    return float(np.quantile(values, tail, method="lower"))


def _upper(values: np.ndarray, tail: float) -> float:
    return float(np.quantile(values, 1 - tail, method="higher"))


def _resampled_rates(tables: AcceptTables, present: np.ndarray, resamples: int) -> np.ndarray:
    """FAR at each threshold: float64 [resamples, K]."""
    steps = tables.impostor_steps[np.ix_(present, present)]
    accepted = np.cumsum(steps, axis=2, dtype=np.float64)
    pairs = tables.impostors[np.ix_(present, present)].astype(np.float64)
    classes, thresholds = len(present), accepted.shape[2]

    def total(weights: np.ndarray, of_pairs: np.ndarray) -> np.ndarray:
        """Σ w_i w_j x_ij, with w_i where i = j: float64 [rows, last axis]."""
        within = np.einsum("iik->ik", of_pairs)
        once = weights @ of_pairs.reshape(classes, -1)
        twice = np.einsum("rjk,rj->rk", once.reshape(len(weights), *of_pairs.shape[1:]), weights)
        return twice - (np.square(weights) - weights) @ within

    random = np.random.default_rng(SEED)
    rates = np.empty((resamples, thresholds))
    at_once = max(1, _CELLS_AT_ONCE // (classes * thresholds))
    for start in range(0, resamples, at_once):
        rows = slice(start, min(start + at_once, resamples))
        weights = draw_weights(random, rows.stop - rows.start, classes)
        with np.errstate(invalid="ignore", divide="ignore"):
            rates[rows] = total(weights, accepted) / total(weights, pairs[:, :, None])
    return rates
