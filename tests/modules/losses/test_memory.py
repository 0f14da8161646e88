"""The memory against a list that forgets, and mining in it against loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.losses.distances import pairwise_squared
from modules.losses.loss_sums import mean_over_active
from modules.losses.memory import Memory, Rows, with_memory
from modules.losses.miners import distance_weighted, make_batch
from modules.losses.triplet_loss import TripletLoss
from tests import triplet_oracle

MARGIN, SEED = 0.2, [5, 3]
LABELS = st.lists(st.integers(0, 2), max_size=6)


@settings(deadline=None, max_examples=25)
@given(size=st.integers(1, 7), batches=st.lists(st.integers(0, 9), max_size=5))
def test_the_latest_rows_are_remembered(size: int, batches: list[int]) -> None:
    """Batches of any size, none and more than the memory holds among them."""
    memory, expected = Memory(size, 2), []
    for number, count in enumerate(batches):
        labels = np.arange(count, dtype=np.int64) + 2**60 + 100 * number
        embeddings = np.stack([labels % 1000, -(labels % 1000)], axis=1).astype(np.float32)
        memory.remember(Rows(tf.constant(labels), tf.constant(embeddings)))
        expected = [*expected, *zip(labels.tolist(), embeddings.tolist(), strict=True)][-size:]
    rows = memory.rows()
    found = zip(rows.labels.numpy().tolist(), rows.embeddings.numpy().tolist(), strict=True)
    assert sorted(found) == sorted(expected)
    assert len(memory.rows(use=False).labels) == 0


def with_squared(labels: list[int], remembered: list[int], seed: int) -> tuple:
    """Rows, memory and squared distances [N + M, N + M]."""
    pool, _ = triplet_oracle.unit_digits()
    chosen = np.random.default_rng(seed).choice(
        len(pool), len(labels) + len(remembered), replace=False
    )
    x = pool[chosen]
    rows = Rows(tf.constant(labels, tf.int64), tf.constant(x[: len(labels)]))
    memory = Rows(tf.constant(remembered, tf.int64), tf.constant(x[len(labels) :]))
    return rows, memory, pairwise_squared(tf.constant(x)).numpy()


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard", "easy_positive"])
@pytest.mark.parametrize("loss", ["margin", "soft_margin"])
@settings(deadline=None, max_examples=15)
@given(labels=LABELS.filter(bool), remembered=LABELS, seed=st.integers(0, 2**32 - 1))
def test_sums_and_gradient_equal_those_of_the_loop(mining, loss, labels, remembered, seed) -> None:
    """The loops mine among all rows at once; anchors in the memory are left out."""
    rows, memory, squared = with_squared(labels, remembered, seed)
    mine = triplet_oracle.all_of if mining == "all" else triplet_oracle.MINERS[mining]
    triplets = [t for t in mine(squared, labels + remembered) if t[0] < len(labels)]
    a, p, n = np.array(triplets, np.int32).reshape(-1, 3).T
    objective = TripletLoss(mining=mining, loss=loss)
    batch = tf.Variable(rows.embeddings)
    with tf.GradientTape(persistent=True) as tape:
        found = objective.sums(rows.labels, batch, None, memory)
        everyone = tf.concat([batch, memory.embeddings], axis=0)
        anchor = tf.gather(everyone, a)
        d_ap, d_an = (
            2 - 2 * tf.reduce_sum(anchor * tf.gather(everyone, other), axis=1) for other in (p, n)
        )
        terms = tf.nn.softplus(d_ap - d_an)
        if loss == "margin":
            terms = tf.maximum(d_ap - d_an + MARGIN, 0.0)
        expected = tf.reduce_sum(terms)
    active = int(tf.reduce_sum(tf.cast(terms > 0, tf.int32)))
    sums = [expected, active, len(triplets), tf.reduce_sum(d_ap), tf.reduce_sum(d_an)]
    np.testing.assert_allclose([float(v) for v in found], sums, rtol=1e-4, atol=1e-5)
    gradients = (
        tf.convert_to_tensor(
            tape.gradient(value, batch, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        )
        for value in (found.loss, expected)
    )
    np.testing.assert_allclose(*gradients, atol=1e-3)


def test_distance_weighted_draws_from_the_memory_too() -> None:
    rows, memory, _ = with_squared([0, 0, 1, 1], [0, 1, 1, 2, 2, 2], seed=1)
    candidates = with_memory(rows, memory)
    squared = pairwise_squared(rows.embeddings, candidates.embeddings)
    batch = make_batch(squared, rows.labels, candidates.labels)
    drawn: set[int] = set()
    for seed in range(30):
        triplets = distance_weighted(batch, 6, tf.constant([seed, 0]))
        labels = candidates.labels.numpy()
        assert (labels[triplets.anchor] == labels[triplets.positive]).all()
        assert (labels[triplets.anchor] != labels[triplets.negative]).all()
        assert len(triplets.anchor) == 2 * (1 + 1) + 2 * (
            1 + 2
        )  # pairs in the batch, in the memory
        drawn |= set(triplets.negative.numpy().tolist())
    assert len(drawn) > 4


@pytest.mark.parametrize(
    "mining", ["all", "semi_hard", "hard", "easy_positive", "distance_weighted"]
)
def test_an_empty_memory_changes_nothing_and_the_gradient_leaves_it_alone(mining: str) -> None:
    rows, memory, _ = with_squared([0, 0, 1, 1], [0, 1, 1, 2, 2], seed=0)
    objective = TripletLoss(mining=mining)
    nothing = Rows(memory.labels[:0], memory.embeddings[:0])
    plain = mean_over_active(objective.sums(*rows, tf.constant(SEED)))
    assert float(plain) == float(
        mean_over_active(objective.sums(*rows, tf.constant(SEED), nothing))
    )
    remembered = tf.Variable(memory.embeddings)
    with tf.GradientTape() as tape:
        sums = objective.sums(*rows, tf.constant(SEED), Rows(memory.labels, remembered))
        loss = mean_over_active(sums)
    assert tape.gradient(loss, remembered) is None
    assert float(loss) != float(plain)
