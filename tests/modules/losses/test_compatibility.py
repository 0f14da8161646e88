"""The loss beside an earlier model's vectors, against loops over its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.losses import Rows, compatibility_loss
from tests import pair_oracle
from tests.triplet_oracle import unit_digits

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)


def some_digits(count: int, seed: int) -> np.ndarray:
    pool, _ = unit_digits()
    return pool[np.random.default_rng(seed).choice(len(pool), count, replace=False)]


def loss(labels: list[int], x: np.ndarray, of_old: list[int], y: np.ndarray) -> float:
    new, old = (
        Rows(tf.constant(a, tf.int64), tf.constant(b)) for a, b in ((labels, x), (of_old, y))
    )
    return float(compatibility_loss(new, old))


@settings(deadline=None, max_examples=25)
@given(labels=LABELS, of_old=LABELS, seed=SEEDS)
def test_the_value_is_that_of_the_loop(labels, of_old, seed) -> None:
    rows = some_digits(len(labels) + len(of_old), seed)
    x, y = rows[: len(labels)], rows[len(labels) :]
    expected = pair_oracle.compatibility(x.astype(float), labels, y.astype(float), of_old)
    assert loss(labels, x, of_old, y) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(labels=LABELS, seed=SEEDS)
def test_the_order_of_the_old_rows_plays_no_part(labels, seed) -> None:
    x, y = np.split(some_digits(2 * len(labels), seed), 2)
    order = np.random.default_rng(seed).permutation(len(labels))
    turned = loss(labels, x, [labels[i] for i in order], y[order])
    assert turned == pytest.approx(loss(labels, x, labels, y), rel=1e-5, abs=1e-6)


def test_a_small_case_by_hand() -> None:
    """One row on the vector of its class, the vector of the other class at a right angle."""
    found = loss([1], np.eye(2, dtype=np.float32)[:1], [1, 2], np.eye(2, dtype=np.float32))
    # −log( e^(1 / 0.1) / (e^(1 / 0.1) + e^0) )
    assert found == pytest.approx(math.log(1 + math.exp(-10)), abs=1e-6)


def test_only_the_new_rows_learn_and_a_class_without_an_old_row_does_not_count() -> None:
    x, y = (tf.Variable(part) for part in np.split(some_digits(8, 0), 2))
    labels, of_old = [0, 0, 1, 9], [0, 0, 1, 1]
    with tf.GradientTape() as tape:
        value = compatibility_loss(
            Rows(tf.constant(labels), x), Rows(tf.constant(of_old), tf.convert_to_tensor(y))
        )
    of_new, of_vectors = tape.gradient(value, [x, y])
    assert of_vectors is None
    moved = np.abs(of_new.numpy()).sum(axis=1) > 0
    assert moved.tolist() == [True, True, True, False]
    assert loss([9], some_digits(1, 0), [1], some_digits(1, 1)) == 0
