"""The verdict on old vectors, and the map into their space."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.compatibility import (
    ChurnReport,
    Way,
    find_verdict,
    judge_churn,
    learn_map,
)
from modules.settings import CompatibilitySettings

SEEDS = st.integers(0, 2**32 - 1)


def way(precision: float, map_at_r: float = 0.5) -> Way:
    return Way(precision_at_1=precision, map_at_r=map_at_r, negative_flips=0.0, positive_flips=0.0)


@pytest.mark.parametrize(
    ("keep", "mapped", "expected"),
    [
        (way(0.9), way(0.9), "keep"),
        (way(0.89), way(0.9), "keep"),  # 1/100 less is what is allowed
        (way(0.889), way(0.9), "map"),
        (way(0.9, 0.48), way(0.95), "map"),  # MAP@R counts too
        (way(0.1), way(0.8), "re_embed"),
        (way(0.1), None, "re_embed"),
        (way(math.nan), way(math.nan), "re_embed"),
    ],
)
def test_the_least_work_that_loses_no_more_than_is_allowed(keep, mapped, expected) -> None:
    ways = {"keep": keep, "re_embed": way(1.0)} | ({"map": mapped} if mapped else {})
    verdict, why = find_verdict(way(0.9), ways, [4, 4], 0.01)
    assert verdict == expected
    shown = mapped if mapped and expected != "keep" else keep
    assert f"P@1 {shown.precision_at_1:.4f} beside 0.9000" in why


def churn(**figures: float) -> ChurnReport:
    values = dict.fromkeys(
        ("changed", "overlap", "outside_before", "outside", "limit_before", "limit"), 0.5
    )
    return ChurnReport(queries=4, unusable=0, k=10, **values | figures)


def test_thresholds_of_logged_queries_are_inclusive() -> None:
    bounds = {"queries": "log", "max_changed": 0.5, "min_overlap": 0.5, "max_outside": 0.5}
    asked = CompatibilitySettings(**bounds)
    assert judge_churn(churn(), asked) == []
    worse = judge_churn(churn(changed=0.75, overlap=0.25, outside=1.0), asked)
    assert [str(one) for one in worse] == [
        "changed results (overall): 0.7500 is above the limit 0.5000 (by 0.2500)",
        "overlap@10 (overall): 0.2500 is below the threshold 0.5000",
        "queries outside (overall): 1.0000 is above the limit 0.5000 (by 0.5000)",
    ]
    assert judge_churn(churn(changed=1.0), CompatibilitySettings(queries="log")) == []


def orthogonal(dimension: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 12), dimension=st.integers(2, 6), seed=SEEDS)
def test_no_orthogonal_map_comes_nearer(rows, dimension, seed) -> None:
    rng = np.random.default_rng(seed)
    new, old = rng.normal(size=(2, rows, dimension)).astype(np.float32)
    found = learn_map(new, old)
    np.testing.assert_allclose(found @ found.T, np.eye(dimension), atol=1e-5)

    def apart(matrix: np.ndarray) -> float:
        return sum(((row @ matrix - other) ** 2).sum() for row, other in zip(new, old, strict=True))

    others = [np.eye(dimension), *(orthogonal(dimension, rng) for _ in range(5))]
    # Near the best one too.
    others += [found @ (np.eye(dimension) + 0.01 * skew) for skew in _turns(dimension, rng)]
    assert all(apart(found) <= apart(other) + 1e-3 for other in others)


def _turns(dimension: int, rng: np.random.Generator) -> list[np.ndarray]:
    some = rng.normal(size=(3, dimension, dimension))
    return [one - one.T for one in some]


@settings(deadline=None, max_examples=25)
@given(dimension=st.integers(2, 6), seed=SEEDS)
def test_a_turned_space_is_turned_back(dimension, seed) -> None:
    rng = np.random.default_rng(seed)
    turn = orthogonal(dimension, rng)
    old = rng.normal(size=(3 * dimension, dimension)).astype(np.float32)
    new = (old @ turn.T).astype(np.float32)
    np.testing.assert_allclose(learn_map(new, old), turn, atol=1e-3)
    broken = np.concatenate([new, np.full((1, dimension), np.nan, np.float32)])
    np.testing.assert_array_equal(
        learn_map(broken, np.concatenate([old, old[:1]])), learn_map(new, old)
    )
    assert learn_map(broken[-1:], old[:1]) is None
