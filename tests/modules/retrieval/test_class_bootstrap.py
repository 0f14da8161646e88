"""Intervals of changes: the loops of the definition, and how often they hold the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from modules.retrieval.class_bootstrap import (
    change_intervals,
    classes_needed,
    detectable,
    draw_weights,
    resamples_for,
)

SEED = 3


def by_loops(counts, sums, level: float, resamples: int) -> tuple[float, float]:
    """The docstring of the module, one resample and one class after the other."""
    weights = draw_weights(np.random.default_rng(SEED), resamples, len(counts))
    means = []
    for row in weights:
        total = queries = 0.0
        for times, count, of_class in zip(row, counts, sums, strict=True):
            total += times * of_class
            queries += times * count
        means.append(total / queries)
    classes, change = len(counts), sum(sums) / sum(counts)
    apart = sum((s - n * change) ** 2 for n, s in zip(counts, sums, strict=True))
    error = (classes / (classes - 1) * apart) ** 0.5 / sum(counts)
    t = stats.t.ppf((1 + level) / 2, classes - 1)
    tail = stats.norm.cdf(-t * (classes / (classes - 1)) ** 0.5)
    return (
        min(np.quantile(means, tail), change - t * error),
        max(np.quantile(means, 1 - tail), change + t * error),
    )


table = st.lists(st.tuples(st.integers(1, 9), st.floats(-9, 9, width=16)), min_size=2, max_size=12)


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


@pytest.mark.parametrize("classes", [0, 1])
def test_nothing_to_resample(classes):
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


def flips(random: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Two models that are wrong in the same classes, each in its own queries; change 0."""
    counts, errors = random.integers(2, 30, classes), random.beta(0.5, 4, classes)
    return counts, random.binomial(counts, errors) - random.binomial(counts, errors) * 1.0, 0.0


def better(random: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The candidate is wrong less often, by another part in each class."""
    counts, errors = random.integers(2, 30, classes), random.beta(0.5, 4, classes)
    now = random.binomial(counts, errors * random.uniform(0.5, 1, classes))
    return counts, (random.binomial(counts, errors) - now) * 1.0, 1 / 9 * 1 / 4


def by_class(random: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Scores that change by class more than by query."""
    counts = random.integers(2, 30, classes)
    of_class = random.normal(0.3, 1, classes) * counts
    return counts, of_class + random.normal(0, 1, classes) * np.sqrt(counts), 0.3


def coverage(draw, classes: int, runs: int = 1_500) -> float:
    random = np.random.default_rng(classes)
    held = 0
    for _ in range(runs):
        counts, sums, change = draw(random, classes)
        lower, upper = change_intervals(counts, sums[:, None], resamples=1_000)[:, 0]
        held += lower <= change <= upper
    return held / runs


@pytest.mark.parametrize("draw", [flips, better, by_class])
@pytest.mark.parametrize("classes", [10, 40])
def test_intervals_hold_the_true_change_as_often_as_they_say(draw, classes):
    assert 0.93 <= coverage(draw, classes) <= 0.97


def test_three_classes_are_no_reason_for_a_narrow_interval():
    assert coverage(by_class, 3) >= 0.92


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
