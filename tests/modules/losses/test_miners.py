"""Miners against loops over the exact sets of triplets."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.losses import miners
from modules.losses.distances import pairwise_squared
from tests import triplet_oracle

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**32 - 1)


def mine(name: str, squared: np.ndarray, labels: list[int]) -> list[triplet_oracle.Triplet]:
    batch = miners.make_batch(tf.constant(squared, tf.float32), tf.constant(labels))
    rows = miners.MINERS[name](batch, 2, None)
    return [tuple(int(row) for row in triplet) for triplet in zip(*rows, strict=True)]


def draw(
    squared: np.ndarray, labels: list[int], dimension: int, seed: int
) -> miners.TripletIndices:
    batch = miners.make_batch(tf.constant(squared, tf.float32), tf.constant(labels))
    return miners.distance_weighted(batch, dimension, tf.constant([seed, 0]))


@pytest.mark.parametrize("name", triplet_oracle.MINERS)
@settings(deadline=None, max_examples=40)
@given(labels=LABELS, seed=SEEDS)
def test_triplets_equal_those_of_the_loop(name: str, labels: list[int], seed: int) -> None:
    """Different distances, as between different images: one answer; singletons among them."""
    x, _ = triplet_oracle.unit_digits()
    chosen = np.random.default_rng(seed).choice(len(x), len(labels), replace=False)
    squared = pairwise_squared(tf.constant(x[chosen])).numpy()
    expected = triplet_oracle.MINERS[name](squared, labels)
    assert sorted(mine(name, squared, labels)) == sorted(expected)


@pytest.mark.parametrize("name", triplet_oracle.MINERS)
@settings(deadline=None, max_examples=40)
@given(labels=LABELS, seed=SEEDS)
def test_equally_distant_rows(name: str, labels: list[int], seed: int) -> None:
    """Distances 0, 1, 2 and 3 only, as between duplicates: same distances, any of the rows."""
    n = len(labels)
    squared = np.random.default_rng(seed).integers(0, 4, size=(n, n)).astype(np.float32)
    found = mine(name, squared, labels)
    assert all(labels[a] == labels[p] and a != p and labels[a] != labels[n] for a, p, n in found)

    def distances(triplets: list[triplet_oracle.Triplet]) -> list[tuple[int, float, float]]:
        return sorted((a, squared[a, p], squared[a, n]) for a, p, n in triplets)

    expected = triplet_oracle.MINERS[name](squared, labels)
    assert distances(found) == distances(expected)
    if name == "semi_hard":
        assert {triplet[:2] for triplet in found} == {triplet[:2] for triplet in expected}


def test_semi_hard_takes_the_farthest_negative_when_none_is_farther_than_the_positive() -> None:
    # Anchor 0: positive at 4, negatives at 2 and 0. Anchor 1: positive at 4, negatives at 2 and 4.
    points = tf.constant([[1, 0], [-1, 0], [0, 1], [1, 0]], tf.float32)
    squared = pairwise_squared(points).numpy()
    assert mine("semi_hard", squared, [0, 0, 1, 2]) == [(0, 1, 2), (1, 0, 3)]


@pytest.mark.parametrize("name", [*triplet_oracle.MINERS, "distance_weighted"])
@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 0, 0]])
def test_a_batch_without_triplets(name: str, labels: list[int]) -> None:
    squared = pairwise_squared(tf.constant(triplet_oracle.unit_digits()[0][: len(labels)])).numpy()
    if name == "distance_weighted":
        assert [len(rows) for rows in draw(squared, labels, 8, 0)] == [0, 0, 0]
    else:
        assert mine(name, squared, labels) == []


def probabilities(distances: np.ndarray, dimension: int) -> np.ndarray:
    """1 / q(d) of Wu et al. 2017, normalised; distances of the negatives, not squared."""
    d = np.maximum(distances.astype(np.float64), 0.5)
    weights = d ** (2.0 - dimension) * (1 - d**2 / 4) ** ((3.0 - dimension) / 2)
    weights[distances >= 1.4] = 0
    return weights / weights.sum()


@pytest.mark.parametrize("dimension", [2, 3, 16])
def test_distance_weighted_draws_with_the_probabilities_of_the_paper(dimension: int) -> None:
    """300 anchors that see the same six negatives: 300 · 299 independent draws."""
    distances = np.array([0.1, 0.4, 0.9, 1.1, 1.3, 1.5])
    labels = [0] * 300 + [1, 2, 3, 4, 5, 5]
    squared = np.ones((306, 306), np.float32)
    squared[:300, 300:] = distances**2
    rows = draw(squared, labels, dimension, seed=7)
    of_the_crowd = rows.anchor.numpy() < 300
    drawn = np.bincount(rows.negative.numpy()[of_the_crowd] - 300, minlength=6)
    draws = 300 * 299
    assert drawn.sum() == draws
    p = probabilities(distances, dimension)
    assert p[0] == p[1]  # both under the cut-off of 0.5
    np.testing.assert_array_less(np.abs(drawn - draws * p), 5 * np.sqrt(draws * p * (1 - p)) + 1)


def test_distance_weighted_draws_evenly_when_all_negatives_are_beyond_the_cutoff() -> None:
    squared = np.full((303, 303), 1.9**2, np.float32)
    squared[:300, 302] = 1.5**2
    rows = draw(squared, [0] * 300 + [1, 2, 3], 128, seed=0)
    drawn = np.bincount(rows.negative.numpy() - 300, minlength=3)
    draws, p = 300 * 299, 1 / 3
    np.testing.assert_array_less(np.abs(drawn - draws * p), 5 * np.sqrt(draws * p * (1 - p)))


@settings(deadline=None, max_examples=40)
@given(labels=LABELS, seed=st.integers(0, 2**31 - 1), dimension=st.sampled_from([2, 128, 4096]))
def test_distance_weighted_draws_one_negative_for_every_pair(
    labels: list[int], seed: int, dimension: int
) -> None:
    """Also with duplicates (distance 0), opposite points (4) and large dimensions."""
    n = len(labels)
    squared = np.random.default_rng(seed).choice([0.0, 1e-7, 0.5, 1.9, 3.0, 4.0], size=(n, n))
    rows = draw(squared, labels, dimension, seed)
    found = list(zip(*(row.numpy().tolist() for row in rows), strict=True))
    assert [(a, p) for a, p, _ in found] == [(a, p) for a, p, _ in triplet_oracle.pairs(labels)]
    for a, _, negative in found:
        assert labels[negative] != labels[a]
        near = [i for i in range(n) if labels[i] != labels[a] and squared[a, i] < 1.4**2]
        assert not near or negative in near


def test_distance_weighted_depends_on_the_seed_only() -> None:
    x, labels = triplet_oracle.unit_digits()
    squared = pairwise_squared(tf.constant(x)).numpy()
    first, again, other = (draw(squared, labels, 6, seed).negative.numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
