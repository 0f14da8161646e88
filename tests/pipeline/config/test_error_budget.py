"""A year of nights in which nothing changes: how many models the gate takes for better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from modules.retrieval import change_intervals
from pipeline.config import RetrainingSettings

CLASSES, NIGHTS, YEARS = 40, 365, 8
# Per class and night the sum of candidate − baseline; returns which nights are promoted.
Gate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def on_the_same_data(gate: Gate, seed: int) -> int:
    """A year. Each night's model is as good as every other: it errs as often, in other queries."""
    random = np.random.default_rng(seed)
    counts, errors = random.integers(10, 40, CLASSES), random.beta(0.5, 4, CLASSES)
    wrong = random.binomial(counts[:, None], errors[:, None], (CLASSES, NIGHTS + 1)) * 1.0
    blessed, promoted = 0, 0
    while blessed < NIGHTS:
        passed = np.flatnonzero(gate(counts, wrong[:, [blessed]] - wrong[:, blessed + 1 :]))
        if not passed.size:
            break
        blessed += 1 + int(passed[0])
        promoted += 1
    return promoted


def on_new_data(gate: Gate, seed: int) -> int:
    """The same, but every night both models are evaluated on images of that day."""
    random = np.random.default_rng(seed)
    counts, errors = random.integers(10, 40, CLASSES), random.beta(0.5, 4, (CLASSES, NIGHTS))
    before, now = (random.binomial(counts[:, None], errors) * 1.0 for _ in range(2))
    return int(np.count_nonzero(gate(counts, before - now)))


def max_drop(counts: np.ndarray, changes: np.ndarray) -> np.ndarray:
    return changes.sum(axis=0) / counts.sum() >= -0.01


def better(level: float) -> Gate:
    return lambda counts, changes: change_intervals(counts, changes, level)[0] > 0


@pytest.mark.parametrize("year", [on_the_same_data, on_new_data])
def test_chance_promotes_no_more_than_the_budget_says(year):
    budget = 4.0
    level = RetrainingSettings(false_promotions_per_year=budget).change_level
    assert level == 1 - 2 * 4 / 365
    found = sum(year(better(level), seed) for seed in range(YEARS))
    assert found <= budget * YEARS
    by_chance = sum(year(max_drop, seed) for seed in range(YEARS))
    assert by_chance > 100 * YEARS
