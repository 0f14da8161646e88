"""Distances against their definitions, and their gradients where they are delicate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from modules.losses.distances import DISTANCES, pairwise_squared, rowwise_squared
from tests.triplet_oracle import unit_digits


def test_values_on_the_unit_circle() -> None:
    angles = [0, math.pi / 3, math.pi / 2, math.pi]
    squared = pairwise_squared(tf.constant([[math.cos(a), math.sin(a)] for a in angles]))[0]
    cosines = [1, 1 / 2, 0, -1]
    expected = {
        "squared_l2": [2 - 2 * c for c in cosines],
        "l2": [0, 1, math.sqrt(2), 2],
        "cosine": [1 - c for c in cosines],
    }
    assert expected.keys() == DISTANCES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(DISTANCES[name](squared), values, atol=1e-6)


def test_pairwise_and_rowwise_equal_the_loop_on_digits() -> None:
    x, _ = unit_digits(dimension=32)
    expected = [[np.sum((a.astype("d") - b.astype("d")) ** 2) for b in x] for a in x]
    np.testing.assert_allclose(pairwise_squared(tf.constant(x)), expected, atol=1e-6)
    np.testing.assert_allclose(
        rowwise_squared(x[:-1], x[1:]), np.diagonal(expected, offset=1), atol=1e-6
    )


def test_every_distance_orders_rows_alike() -> None:
    x, _ = unit_digits()
    squared = pairwise_squared(tf.constant(x))
    order = np.argsort(squared[0])
    for distance in DISTANCES.values():
        assert (np.diff(distance(squared).numpy()[0][order]) >= 0).all()


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_is_that_of_the_definition(name: str) -> None:
    x, _ = unit_digits(per_class=1)
    rows = tf.Variable(x)
    with tf.GradientTape(persistent=True) as tape:
        cosines = tf.reduce_sum(rows[:-1] * rows[1:], axis=1)
        definition = {
            "squared_l2": lambda: 2 - 2 * cosines,
            "l2": lambda: tf.sqrt(2 - 2 * cosines),
            "cosine": lambda: 1 - cosines,
        }[name]()
        found = tf.linalg.diag_part(DISTANCES[name](pairwise_squared(rows)), k=1)
    np.testing.assert_allclose(
        tf.convert_to_tensor(tape.gradient(found, rows)),
        tf.convert_to_tensor(tape.gradient(definition, rows)),
        atol=1e-5,
    )


@pytest.mark.parametrize("name", DISTANCES)
def test_identical_rows_have_distance_zero_and_a_finite_gradient(name: str) -> None:
    x, _ = unit_digits(per_class=1)
    rows = tf.Variable(np.concatenate([x, x]))
    with tf.GradientTape() as tape:
        distances = DISTANCES[name](pairwise_squared(rows))
    gradient = tf.convert_to_tensor(tape.gradient(distances, rows))
    np.testing.assert_allclose(tf.linalg.diag_part(distances, k=10), np.zeros(10), atol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", DISTANCES)
def test_nan_stays_nan(name: str) -> None:
    rows = tf.constant([[1.0, 0.0], [np.nan, 0.0]])
    assert np.isnan(DISTANCES[name](pairwise_squared(rows))[0, 1])
