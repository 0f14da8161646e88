"""Losses of pairs and proxies against loops over their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.losses.loss_values import LossValues
from modules.losses.memory import Rows
from modules.losses.multi_similarity import MultiSimilarityLoss
from modules.losses.proxy_anchor import ProxyAnchorLoss
from modules.losses.supervised_contrastive import SupervisedContrastiveLoss
from tests import pair_oracle
from tests.triplet_oracle import unit_digits

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=10)
SEEDS = st.integers(0, 2**32 - 1)
PAIRS: dict[str, tuple[type, Callable, dict[str, float]]] = {
    "multi_similarity": (
        MultiSimilarityLoss,
        pair_oracle.multi_similarity,
        {"alpha": 3.0, "beta": 20.0, "base": 0.2, "epsilon": 0.3},
    ),
    "supervised_contrastive": (
        SupervisedContrastiveLoss,
        pair_oracle.supervised_contrastive,
        {"temperature": 0.5},
    ),
}
CLASSES = [3, 1, 0, 2, 7]  # the last one is in no batch
PROXIES = 3 * np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
ALL = [*PAIRS, "proxy_anchor"]


def call(name: str, labels: list[int] | tf.Tensor, x: tf.Tensor, **options: float) -> LossValues:
    labels = tf.convert_to_tensor(labels)
    if name == "proxy_anchor":
        classes = tf.constant(CLASSES, labels.dtype)
        return ProxyAnchorLoss(**options)(labels, x, classes, tf.constant(PROXIES))
    return PAIRS[name][0](**options)(labels, x)


def some_digits(count: int, seed: int) -> np.ndarray:
    pool, _ = unit_digits()
    return pool[np.random.default_rng(seed).choice(len(pool), count, replace=False)]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("given_options", [False, True], ids=["defaults", "options"])
@settings(deadline=None, max_examples=25)
@given(labels=LABELS, remembered=st.lists(st.integers(0, 3), max_size=6), seed=SEEDS)
def test_values_equal_those_of_the_loop(name, given_options, labels, remembered, seed) -> None:
    kind, oracle, options = PAIRS[name]
    options = options if given_options else {}
    y = some_digits(len(labels) + len(remembered), seed)
    x, candidates = y[: len(labels)], labels + remembered
    memory = Rows(tf.constant(remembered, tf.int64), tf.constant(y[len(labels) :]))
    found = kind(**options)(tf.constant(labels, tf.int64), tf.constant(x), memory)
    exact = y.astype(np.float64)
    about = exact[: len(labels)], labels, exact, candidates
    loss, active = oracle(*about, **options)
    expected = [loss, active, *pair_oracle.mean_distances(*about)]
    np.testing.assert_allclose([float(v) for v in found], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"alpha": 5.0, "margin": 0.4}], ids=str)
@settings(deadline=None, max_examples=25)
@given(labels=LABELS, seed=SEEDS)
def test_proxy_anchor_equals_the_loop(options, labels, seed) -> None:
    x = some_digits(len(labels), seed)
    found = call("proxy_anchor", labels, tf.constant(x), **options)
    exact = x.astype(np.float64), labels
    points = PROXIES.astype(np.float64)
    expected = pair_oracle.proxy_anchor(*exact, CLASSES, points, **options)
    assert float(found.loss) == pytest.approx(expected, rel=1e-4)
    distances = pair_oracle.mean_distances(*exact, *exact)
    np.testing.assert_allclose(found[2:], distances, rtol=1e-4, atol=1e-5)
    assert 0 <= float(found.active) <= 1


def test_a_row_without_a_proxy_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="none of the classes"):
        call("proxy_anchor", [0, 5], tf.constant(some_digits(2, 0)))


def test_by_hand_on_the_unit_circle() -> None:
    """Rows at 0°, 90° and 0°: the positives of class 0 have the cosine 0, the negatives 1 and 0."""
    x = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = [0, 0, 1]
    contrastive = call("supervised_contrastive", labels, x, temperature=1.0)
    e = np.e
    # Row 0: −log(e⁰ / (e⁰ + e¹)); row 1: −log(e⁰ / (e⁰ + e⁰)); row 2 has no positive.
    assert float(contrastive.loss) == pytest.approx((np.log(1 + e) + np.log(2)) / 2)
    assert float(contrastive.active) == pytest.approx(2 / 3)
    similarity = call("multi_similarity", labels, x, alpha=1.0, beta=1.0, base=0.0, epsilon=0.1)
    # Row 0 keeps both pairs: log(1 + e⁰) + log(1 + e¹); row 1: log(1 + e⁰) twice.
    expected = (np.log(2) + np.log(1 + e) + 2 * np.log(2)) / 3
    assert float(similarity.loss) == pytest.approx(expected)
    # d_ap: 2 and 2; d_an: 0 and 2, seen from both sides.
    np.testing.assert_allclose(similarity[2:], [2, (0 + 2 + 0 + 2) / 4])


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=15)
@given(labels=LABELS, seed=SEEDS)
def test_order_of_rows_and_names_of_classes_do_not_matter(name, labels, seed) -> None:
    x = some_digits(len(labels), seed)
    expected = [float(v) for v in call(name, labels, tf.constant(x))]
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = call(name, np.array(labels)[order], tf.constant(x[order]))
    np.testing.assert_allclose([float(v) for v in shuffled], expected, rtol=1e-4, atol=1e-5)
    if name != "proxy_anchor":  # its proxies have names
        renamed = call(name, [2**60 + 7 * c for c in labels], tf.constant(x))
        np.testing.assert_allclose([float(v) for v in renamed], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
@settings(deadline=None, max_examples=15)
@given(labels=LABELS, seed=SEEDS)
def test_gradient_is_finite_also_between_identical_images(name, labels, seed) -> None:
    rng = np.random.default_rng(seed)
    x = tf.Variable(some_digits(3, seed)[rng.integers(0, 3, len(labels))])
    with tf.GradientTape() as tape:
        loss = call(name, labels, x).loss
    assert np.isfinite(loss)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, x))).all()


def test_gradient_reaches_the_proxies() -> None:
    points = tf.Variable(PROXIES)
    with tf.GradientTape() as tape:
        x = tf.constant(some_digits(6, 0))
        loss = ProxyAnchorLoss()(tf.constant([0, 0, 1, 1, 2, 3]), x, tf.constant(CLASSES), points)
    rows = np.abs(tf.convert_to_tensor(tape.gradient(loss.loss, points))).sum(axis=1)
    assert (rows > 0).all()  # also that of the class without a row


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("labels", [[0], [0, 1, 2]], ids=["one row", "no positive"])
def test_a_batch_without_a_positive_contributes_zero(name: str, labels: list[int]) -> None:
    x = tf.Variable(some_digits(len(labels), 0))
    with tf.GradientTape() as tape:
        values = call(name, labels, x)
    assert (float(values.loss), float(values.active), float(values.d_ap)) == (0, 0, 0)
    assert not np.any(tf.convert_to_tensor(tape.gradient(values.loss, x)))


@pytest.mark.parametrize("name", ALL)
def test_nan_embeddings_give_a_nan_loss(name: str) -> None:
    x = some_digits(6, 0).copy()
    x[2] = np.nan
    compiled = tf.function(lambda x: call(name, [0, 0, 1, 1, 2, 2], x).loss)
    assert np.isnan(compiled(tf.constant(x)))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("half", [tf.bfloat16, tf.float16])
def test_arithmetic_is_float32_from_half_precision(name: str, half: tf.DType) -> None:
    labels, x = [0, 0, 1, 1, 2, 2], tf.cast(some_digits(6, 0), half)
    found = call(name, labels, x)
    assert {(v.dtype.name, v.shape.rank) for v in found} == {("float32", 0)}
    # Only the embeddings are rounded, not the arithmetic.
    assert [float(v) for v in found] == [
        float(v) for v in call(name, labels, tf.cast(x, "float32"))
    ]
