"""Scores of tied neighbours against all of their orders, and against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.retrieval import score_names
from modules.retrieval.hit_scores import reciprocal_ranks, score_hits
from tests.tied_oracle import enumerated_scores, expected_scores, ordered_scores

KS = [1, 2, 5]
NAMES = score_names(KS)[:-2]  # without the mean distances


@st.composite
def tied(draw, largest: int):
    """Groups of tied neighbours, nearest first, with at least one hit."""
    hits = draw(st.lists(st.booleans(), min_size=1, max_size=largest).filter(any))
    cuts = draw(st.lists(st.booleans(), min_size=len(hits), max_size=len(hits)))
    groups: list[list[bool]] = [[]]
    for hit, cut in zip(hits, cuts, strict=True):
        groups[-1].append(hit)
        if cut:
            groups.append([])
    return [group for group in groups if group]


def scores_of(groups: list[list[bool]], width: int) -> dict[str, float]:
    """The scores where a search has kept `width` neighbours and counted the tied beyond them."""
    distances = [number for number, group in enumerate(groups) for _ in group]
    hits = [hit for group in groups for hit in group]
    behind = [i for i in range(width, len(hits)) if distances[i] == distances[width - 1]]
    row = score_hits(
        np.array([distances[:width]]),
        np.array([hits[:width]]),
        np.array([[len(behind)], [sum(hits[i] for i in behind)]]),
        np.array([sum(hits)]),
        KS,
    )
    return dict(zip(NAMES, row[0].tolist(), strict=True))


@settings(deadline=None, max_examples=50)
@given(tied(6))
def test_the_oracle_is_the_mean_over_all_orders(groups):
    listed, formula = enumerated_scores(groups, KS), expected_scores(groups, KS)
    for name, value in listed.items():
        if name.startswith("ndcg"):  # of logarithms
            assert formula[name] == pytest.approx(value, rel=1e-12)
        else:
            assert formula[name] == value, name


@settings(deadline=None, max_examples=200)
@given(tied(14), st.integers(0, 14))
def test_scores_are_the_mean_over_all_orders(groups, more):
    total, relevant = sum(map(len, groups)), sum(map(sum, groups))
    width = min(total, max(*KS, relevant) + more)
    expected = {name: float(value) for name, value in expected_scores(groups, KS).items()}
    actual = scores_of(groups, width)
    firsts = [sum(map(len, groups[:number])) for number in range(len(groups))]
    if not any(any(group) for group, first in zip(groups, firsts, strict=True) if first < width):
        assert actual.pop("mrr") == 0  # the first hit stands behind what was kept
    assert actual == pytest.approx({name: expected[name] for name in actual}, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=14).filter(any))
def test_without_ties_scores_are_those_of_the_order(hits):
    expected = {name: float(value) for name, value in ordered_scores(hits, KS).items()}
    assert scores_of([[hit] for hit in hits], len(hits)) == pytest.approx(expected, rel=1e-15)


def test_tied_scores_by_hand():
    # A miss, then three at one distance of which two are hits, then a miss: R = 2.
    actual = scores_of([[False], [True, True, False], [False]], 5)
    gains = 1 / np.log2(np.arange(2, 7))
    # hit, hit, miss; hit, miss, hit; miss, hit, hit: one third each.
    expected = {
        "precision@1": 0,
        "precision@2": (1 + 1 + 0) / 3 / 2,
        "precision@5": 2 / 5,
        "precision_capped@1": 0,
        "precision_capped@2": (1 + 1 + 0) / 3 / 2,
        "precision_capped@5": 2 / 2,
        "recall@1": 0,
        "recall@2": 2 / 3,
        "recall@5": 1,
        "ndcg@1": 0,
        "ndcg@2": 2 / 3 * gains[1] / gains[:2].sum(),
        "ndcg@5": 2 / 3 * gains[1:4].sum() / gains[:2].sum(),
        "r_precision": (1 / 2 + 1 / 2 + 0) / 3,
        "map@r": (1 / 2 + 1 / 2 + 0) / 3 / 2,
        "mrr": (1 / 2 + 1 / 2 + 1 / 3) / 3,
    }
    assert actual == pytest.approx(expected, rel=1e-15)


def test_a_large_group_has_one_hit_somewhere():
    n = 300_000
    harmonic = np.sum(1 / np.arange(1, n + 1))
    actual = reciprocal_ranks(np.array([0, 5, 0]), np.array([n, 1, 7]), np.array([1, 1, 0]))
    assert actual == pytest.approx([harmonic / n, 1 / 6, 0], rel=1e-9)


@pytest.mark.parametrize(("before", "size", "hits"), [(0, 40, 3), (7, 500, 20), (2, 60, 60)])
def test_reciprocal_ranks_as_fractions(before, size, hits):
    chance, left = Fraction(0), Fraction(1)  # of a hit at the place, and of none before it
    for place in range(size - hits + 1):
        at = left * Fraction(hits, size - place)
        chance += at / (before + place + 1)
        left -= at
    actual = reciprocal_ranks(np.array([before]), np.array([size]), np.array([hits]))
    assert actual[0] == pytest.approx(float(chance), rel=1e-12)
