"""Intervals of changes: the loops of the definition, and how often they hold the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from modules.retrieval.class_bootstrap import (
    LEAST_CLASSES,
    change_intervals,
    classes_needed,
    degrees_of_freedom,
    detectable,
    draw_weights,
    resamples_for,
)

SEED = 3


def by_loops(counts, sums, level: float, resamples: int) -> tuple[float, float]:
    """The docstring of the module, one resample and one class after the other."""
    classes, total = len(counts), sum(counts)
    change = sum(sums) / total
    off = [d - n * change for n, d in zip(counts, sums, strict=True)]
    shares = [n / total for n in counts]
    error = sum(u**2 / (1 - h) for u, h in zip(off, shares, strict=True)) ** 0.5 / total
    pulled = [h**2 / (1 - h) for h in shares]
    freedom = 1 / (sum(h**2 for h in shares) + sum(pulled) ** 2 - sum(g**2 for g in pulled))
    quantile = stats.t.ppf((1 + level) / 2, freedom)
    least = 0.1 * classes / (classes - 1) * sum(u**2 for u in off) / total**2
    ts = []
    for row in draw_weights(np.random.default_rng(SEED), resamples, classes):
        queries = sum(w * n for w, n in zip(row, counts, strict=True))
        mean = sum(w * d for w, d in zip(row, sums, strict=True)) / queries
        apart = sum(w * (d - n * mean) ** 2 for w, n, d in zip(row, counts, sums, strict=True))
        own = max(classes / (classes - 1) * apart / queries**2, least)
        ts.append((mean - change) / own**0.5 if least else 0.0)
    return (
        change - error * max(np.quantile(ts, (1 + level) / 2), quantile),
        change - error * min(np.quantile(ts, (1 - level) / 2), -quantile),
    )


table = st.lists(
    st.tuples(st.integers(1, 9), st.integers(-72, 72).map(lambda n: n / 8)),
    min_size=LEAST_CLASSES,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(table, st.sampled_from([0.5, 0.9, 0.95, 0.995]))
def test_the_same_as_loops(rows, level):
    counts, sums = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    columns = np.stack([sums, -2 * sums, np.full_like(sums, np.nan)], axis=1)
    found = change_intervals(counts, columns, level, resamples=50, seed=SEED)
    lower, upper = by_loops(counts, sums, level, 50)
    np.testing.assert_allclose(found[:, 0], [lower, upper], rtol=1e-9, atol=1e-12)
    # Twice as much the other way round; a score that is unknown somewhere does not spoil others.
    np.testing.assert_allclose(found[:, 1], [-2 * upper, -2 * lower], rtol=1e-9, atol=1e-12)
    assert np.isnan(found[:, 2]).all()


@settings(deadline=None, max_examples=30)
@given(table)
def test_the_change_lies_inside_and_a_higher_level_is_wider(rows):
    counts, sums = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found = [change_intervals(counts, sums[:, None], level)[:, 0] for level in (0.8, 0.95, 0.99)]
    change = sums.sum() / counts.sum()
    for (lower, upper), (lower_of_next, upper_of_next) in itertools.pairwise(found):
        assert lower_of_next - 1e-9 <= lower <= change + 1e-9
        assert change - 1e-9 <= upper <= upper_of_next + 1e-9


def test_a_draw_is_of_as_many_classes_as_there_are():
    weights = draw_weights(np.random.default_rng(0), 2_000, 7)
    assert (weights.sum(axis=1) == 7).all()
    # A class is drawn once on average, with the variance (C − 1) / C of the binomial.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(weights.var(axis=0), 6 / 7, atol=0.15)


@pytest.mark.parametrize("classes", [0, 1, LEAST_CLASSES - 1])
def test_too_few_classes_to_tell(classes):
    assert np.isnan(change_intervals(np.ones(classes), np.ones((classes, 3)))).all()


def test_memory_is_bounded_by_blocks(monkeypatch):
    random = np.random.default_rng(0)
    counts, sums = random.integers(1, 9, 30), random.normal(size=(30, 2))
    whole = change_intervals(counts, sums)
    monkeypatch.setattr("modules.retrieval.class_bootstrap._WEIGHTS_AT_ONCE", 1000)
    np.testing.assert_allclose(change_intervals(counts, sums), whole, rtol=1e-12)


def test_rarer_tails_take_more_resamples():
    assert [resamples_for(level) for level in (0.5, 0.95, 0.98, 0.995, 0.99999)] == [
        *(2_000, 2_000, 2_000, 8_000, 20_000)
    ]


def test_degrees_of_freedom():
    """Alike, as many as classes less 1; with one class that has nearly all queries, nearly 1.

    Of three classes with 1/2, 1/4 and 1/4 of the queries, g is 1/2, 1/12 and 1/12.
    """
    assert degrees_of_freedom(np.full(7, 3.0)) == pytest.approx(6)
    expected = 1 / ((1 / 4 + 1 / 16 + 1 / 16) + (1 / 2 + 1 / 6) ** 2 - (1 / 4 + 2 / 144))
    assert degrees_of_freedom(np.array([2.0, 1.0, 1.0])) == pytest.approx(expected)
    assert degrees_of_freedom(np.array([1e6, 1.0, 1.0, 1.0])) == pytest.approx(1, abs=1e-3)


# Sizes of classes, and the sums of their changes with the true change of a query.
Changes = tuple[np.ndarray, float]
SAMPLES = 100  # of changes, for the same sizes


def alike(random: np.random.Generator, classes: int) -> np.ndarray:
    return random.integers(2, 30, classes)


def skewed(random: np.random.Generator, classes: int) -> np.ndarray:
    """Few large classes and many small ones: the largest of 20 has a quarter of the queries."""
    return np.maximum(2, random.lognormal(2.3, 1, classes)).astype(np.int64)


def flips(random: np.random.Generator, counts: np.ndarray) -> Changes:
    """Two models that are wrong in the same classes, each in its own queries."""
    errors = random.beta(0.5, 4, (SAMPLES, len(counts)))
    return random.binomial(counts, errors) - random.binomial(counts, errors) * 1.0, 0.0


def better(random: np.random.Generator, counts: np.ndarray) -> Changes:
    """The candidate is wrong less often, by another part in each class."""
    errors = random.beta(0.5, 4, (SAMPLES, len(counts)))
    now = random.binomial(counts, errors * random.uniform(0.5, 1, errors.shape))
    return (random.binomial(counts, errors) - now) * 1.0, 1 / 9 * 1 / 4


def by_class(random: np.random.Generator, counts: np.ndarray) -> Changes:
    """Scores that change by class more than by query."""
    shape = SAMPLES, len(counts)
    of_class = random.normal(0.3, 1, shape) * counts
    return of_class + random.normal(0, 1, shape) * np.sqrt(counts), 0.3


def lopsided(random: np.random.Generator, counts: np.ndarray) -> Changes:
    """Changes by class of the skewness 1: some gain much, most a little."""
    shape = SAMPLES, len(counts)
    of_class = random.gamma(4, 1 / 4, shape) * counts
    return of_class + random.normal(0, 0.5, shape) * np.sqrt(counts), 1.0


def coverage(draw, sizes, classes: int, rounds: int = 40) -> float:
    random = np.random.default_rng(classes)
    held = []
    for _ in range(rounds):
        counts = sizes(random, classes)
        sums, change = draw(random, counts)
        lower, upper = change_intervals(counts, sums.T, resamples=1_000)
        held.append((lower <= change) & (change <= upper))
    return float(np.mean(held))


@pytest.mark.parametrize("sizes", [alike, skewed])
@pytest.mark.parametrize("draw", [flips, better, by_class, lopsided])
@pytest.mark.parametrize("classes", [10, 20, 100])
def test_intervals_hold_the_true_change_as_often_as_they_say(draw, sizes, classes):
    # Of models that mostly agree most classes are the same, and an end may not be 0: a little wide.
    most = 0.98 if draw is flips and classes <= 20 else 0.97
    assert 0.93 <= coverage(draw, sizes, classes) <= most


@pytest.mark.parametrize("draw", [flips, better, by_class, lopsided])
def test_with_the_fewest_classes_an_interval_is_rather_too_wide(draw):
    assert coverage(draw, alike, LEAST_CLASSES) >= 0.92


def test_queries_taken_for_independent_would_promise_too_much():
    """Why classes are resampled: the same changes, each query for itself."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        of_class = random.normal(0.3, 1, 20)
        queries = np.repeat(of_class, 25) + random.normal(0, 1, 500)
        lower, upper = change_intervals(np.ones(500), queries[:, None], resamples=200)[:, 0]
        held += lower <= 0.3 <= upper
    assert held / 200 < 0.6


def test_what_would_be_enough():
    """With the width falling as 1/√C, so many classes make the margin detectable."""
    needed = classes_needed(50, half_width=0.02, difference=0.005, level=0.95)
    assert detectable(0.02 * (50 / needed) ** 0.5, 0.95) == pytest.approx(0.005, rel=1e-2)


def test_a_test_with_the_classes_it_asked_for_finds_the_difference():
    """In 8 of 10 cases, as `POWER` says."""
    random = np.random.default_rng(1)
    counts, sums = np.full(60, 10), random.normal(0, 1, 60)
    sums = (sums - sums.mean()) / sums.std()
    lower, _ = change_intervals(counts, sums[:, None])[:, 0]
    needed = classes_needed(60, -lower, 0.02, 0.95)
    found = 0
    for _ in range(300):
        sums = random.normal(0.02 * 10, 1, needed)
        found += change_intervals(np.full(needed, 10), sums[:, None], resamples=400)[0, 0] > 0
    assert 0.7 <= found / 300 <= 0.9
