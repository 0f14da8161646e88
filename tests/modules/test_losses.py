"""Losses and miners against loops over the exact set of triplets."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules import losses

MARGIN = 0.2


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum((a.astype(np.float64) - b.astype(np.float64)) ** 2))


def unit_rows(rng: np.random.Generator, n: int, dimension: int = 3) -> np.ndarray:
    rows = rng.normal(size=(n, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs(labels: list[int]) -> list[tuple[int, int, list[int]]]:
    """All (anchor, positive, negatives of the anchor)."""
    n = range(len(labels))
    return [
        (a, p, [i for i in n if labels[i] != labels[a]])
        for a, p in itertools.permutations(n, 2)
        if labels[a] == labels[p]
    ]


def semi_hard_by_loop(x: np.ndarray, labels: list[int]) -> list[tuple[int, int, int]]:
    chosen = []
    for a, p, negatives in pairs(labels):
        if not negatives:
            continue
        farther = [n for n in negatives if squared(x[a], x[n]) > squared(x[a], x[p])]
        if farther:
            chosen.append((a, p, min(farther, key=lambda n: squared(x[a], x[n]))))
        else:
            chosen.append((a, p, max(negatives, key=lambda n: squared(x[a], x[n]))))
    return chosen


def all_by_loop(x: np.ndarray, labels: list[int]) -> list[tuple[int, int, int]]:
    return [(a, p, n) for a, p, negatives in pairs(labels) for n in negatives]


MINERS = {
    "semi_hard": (losses.semi_hard_triplets, semi_hard_by_loop),
    "all": (losses.all_triplets, all_by_loop),
}


def sums_by_loop(x: np.ndarray, triplets: list[tuple[int, int, int]]) -> list[float]:
    d_ap = [squared(x[a], x[p]) for a, p, _ in triplets]
    d_an = [squared(x[a], x[n]) for a, _, n in triplets]
    terms = [max(0.0, ap - an + MARGIN) for ap, an in zip(d_ap, d_an, strict=True)]
    return [sum(terms), sum(t > 0 for t in terms), len(triplets), sum(d_ap), sum(d_an)]


@pytest.mark.parametrize("mining", MINERS)
@settings(deadline=None, max_examples=60)
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=12), seed=st.integers(0, 2**32 - 1))
def test_miner_equals_triple_loop(mining: str, labels: list[int], seed: int) -> None:
    miner, by_loop = MINERS[mining]
    x = unit_rows(np.random.default_rng(seed), len(labels))
    found = miner(tf.constant(x), tf.constant(labels), MARGIN)
    np.testing.assert_allclose(
        [float(v) for v in found], sums_by_loop(x, by_loop(x, labels)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("mining", MINERS)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_gradient_equals_that_of_the_triple_loop(mining: str, seed: int) -> None:
    """The loop's triplets as an explicit sum of differentiable terms."""
    miner, by_loop = MINERS[mining]
    labels = [0, 0, 0, 1, 1, 2, 2, 2]
    x = tf.Variable(unit_rows(np.random.default_rng(seed), len(labels)))
    with tf.GradientTape() as tape:
        loss = losses.mean_over_active(miner(x, tf.constant(labels), MARGIN))
    found = tape.gradient(loss, x)
    a, p, n = (list(column) for column in zip(*by_loop(x.numpy(), labels), strict=True))
    with tf.GradientTape() as tape:
        # The miner differentiates 2 − 2·cos, so the reference does too.
        d_ap = 2 - 2 * tf.reduce_sum(tf.gather(x, a) * tf.gather(x, p), axis=1)
        d_an = 2 - 2 * tf.reduce_sum(tf.gather(x, a) * tf.gather(x, n), axis=1)
        terms = tf.maximum(d_ap - d_an + MARGIN, 0)
        expected_loss = tf.reduce_sum(terms) / max(
            float(tf.reduce_sum(tf.cast(terms > 0, "float32"))), 1
        )
    expected = tape.gradient(expected_loss, x)
    np.testing.assert_allclose(
        tf.convert_to_tensor(found), tf.convert_to_tensor(expected), atol=1e-4
    )


def test_explicit_triplets_by_hand() -> None:
    # Two triplets on the unit circle: d = 2 − 2·cos.
    anchors, positives, negatives = [[1, 0], [1, 0]], [[0, 1], [1, 0]], [[-1, 0], [0, 1]]
    x = tf.constant(anchors + positives + negatives, tf.float32)
    found = losses.explicit_triplets(x, margin=3.0)
    # (d_ap, d_an) = (2, 4) and (0, 2): terms 2 − 4 + 3 and 0 − 2 + 3.
    assert [float(v) for v in found] == [1 + 1, 2, 2, 2 + 0, 4 + 2]
    assert float(losses.mean_over_active(found)) == 2 / 2


def test_semi_hard_takes_the_farthest_negative_when_none_is_farther_than_the_positive() -> None:
    # Anchor and positive are opposite (d = 4); the negatives are at d = 2 and d = 0.
    x = tf.constant([[1, 0], [-1, 0], [0, 1], [1, 0]], tf.float32)
    found = losses.semi_hard_triplets(x, tf.constant([0, 0, 1, 2]), MARGIN)
    # Anchor 0: negatives at 2 and 0, farthest 2. Anchor 1: negatives at 2 and 4, farthest 4.
    assert float(found.d_an) == 2 + 4
    assert float(found.count) == 2


@pytest.mark.parametrize("mining", ["none", *MINERS])
def test_gradient_is_finite_between_identical_images(mining: str) -> None:
    x = tf.Variable(tf.ones([6, 4]) / 2)
    with tf.GradientTape() as tape:
        loss = losses.TripletLoss(MARGIN, mining)(tf.constant([0, 0, 0, 0, 1, 1]), x)
    assert float(loss) == pytest.approx(MARGIN)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, x))).all()


@pytest.mark.parametrize("mining", MINERS)
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]], ids=["no positive", "no negative"])
def test_a_batch_without_triplets_contributes_zero(mining: str, labels: list[int]) -> None:
    x = tf.Variable(unit_rows(np.random.default_rng(0), 3))
    with tf.GradientTape() as tape:
        loss = losses.TripletLoss(MARGIN, mining)(tf.constant(labels), x)
    assert float(loss) == 0
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(loss, x)), np.zeros((3, 3)))


@pytest.mark.parametrize("mining", ["none", *MINERS])
def test_keras_contract(mining: str) -> None:
    """Config round trip, scalar float32 also from half precision, and the reduction."""
    loss = losses.TripletLoss(0.5, mining)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()
    x = tf.constant(unit_rows(np.random.default_rng(1), 6))
    labels = tf.constant([0, 1, 0, 1, 1, 0])
    assert float(copy(labels, x)) == float(loss(labels, x))
    half = loss(labels, tf.cast(x, tf.bfloat16))
    assert half.dtype == "float32"
    assert half.shape == ()


def test_mining_memory_is_quadratic() -> None:
    """No intermediate tensor of the traced graph has more than two batch dimensions."""
    n = 37
    for miner, _ in MINERS.values():
        graph = tf.function(miner).get_concrete_function(
            tf.TensorSpec([n, 5], tf.float32), tf.TensorSpec([n], tf.int32), MARGIN
        )
        sizes = [
            t.shape.num_elements() or 0 for op in graph.graph.get_operations() for t in op.outputs
        ]
        assert max(sizes) <= n * (n + 1)
