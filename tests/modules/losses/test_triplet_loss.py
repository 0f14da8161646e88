"""Every combination of miner, distance and loss against loops over its triplets."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.losses import miners
from modules.losses.distances import pairwise_squared
from modules.losses.loss_sums import mean_over_active
from modules.losses.triplet_loss import TripletLoss
from tests import triplet_oracle

MARGIN = 0.2
SEED = [5, 3]
MININGS = ["none", "all", "semi_hard", "hard", "easy_positive", "distance_weighted"]
LOSSES = [
    {"mining": name, "loss": loss, "swap": swap}
    for name in MININGS
    for loss in ("margin", "soft_margin")
    for swap in ((False, True) if name in ("none", "all", "hard") else (False,))
]
DISTANCES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {  # of the cosine, as defined
    "squared_l2": lambda cosine: 2 - 2 * cosine,
    "l2": lambda cosine: tf.sqrt(2 - 2 * cosine),
    "cosine": lambda cosine: 1 - cosine,
}
every_loss = pytest.mark.parametrize(
    "options", LOSSES, ids=lambda o: "-".join([o["mining"], o["loss"], "swap"][: 2 + o["swap"]])
)


def triplets_by_loop(mining_name: str, x: np.ndarray, labels: list[int]) -> list:
    squared = pairwise_squared(tf.constant(x)).numpy()
    if mining_name == "none":
        b = len(x) // 3
        return [(i, b + i, 2 * b + i) for i in range(b)]
    if mining_name == "all":
        return triplet_oracle.all_of(squared, labels)
    if mining_name == "distance_weighted":  # what is drawn: see test_mining
        batch = miners.make_batch(tf.constant(squared), tf.constant(labels))
        rows = miners.distance_weighted(batch, x.shape[1], tf.constant(SEED))
        return list(zip(*(row.numpy() for row in rows), strict=True))
    return triplet_oracle.MINERS[mining_name](squared, labels)


def sums_of(x: tf.Tensor, triplets: list, options: dict, distance: str) -> list[tf.Tensor]:
    """Loss, active, count, d_ap and d_an from one differentiable term per triplet."""
    columns = np.array(triplets, np.int32).reshape(-1, 3).T
    a, p, n = (tf.gather(x, column) for column in columns)

    def d(u: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return DISTANCES[distance](tf.reduce_sum(u * v, axis=1))

    d_ap, d_an = d(a, p), d(a, n)
    if options["swap"]:
        d_an = tf.minimum(d_an, d(p, n))
    if options["loss"] == "margin":
        terms = tf.maximum(d_ap - d_an + MARGIN, 0.0)
    else:
        terms = tf.math.log(1 + tf.exp(d_ap - d_an))
    active = tf.reduce_sum(tf.cast(terms > 0, tf.float32))
    count = tf.constant(float(len(triplets)))
    loss, *sums = (tf.reduce_sum(column) for column in (terms, d_ap, d_an))
    return [loss, active, count, *sums]


def build(options: dict, distance: str = "squared_l2") -> TripletLoss:
    margin = {"margin": MARGIN} if options["loss"] == "margin" else {}
    return TripletLoss(**options, **margin, distance=distance)


@every_loss
@pytest.mark.parametrize("distance", DISTANCES)
@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_sums_and_gradient_equal_those_of_the_loop(options: dict, distance: str, seed: int) -> None:
    pool, _ = triplet_oracle.unit_digits()
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=9).tolist()
    chosen = rng.choice(len(pool), len(labels), replace=False)
    x = tf.Variable(pool[chosen])
    triplets = triplets_by_loop(options["mining"], pool[chosen], labels)
    loss = build(options, distance)
    with tf.GradientTape(persistent=True) as tape:
        found = loss.sums(tf.constant(labels), x, tf.constant(SEED))
        mean = mean_over_active(found)
        expected = sums_of(x, triplets, options, distance)
        expected_mean = expected[0] / tf.maximum(expected[1], 1.0)
    np.testing.assert_allclose([float(v) for v in found], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-4, atol=1e-5)
    zeros = tf.UnconnectedGradients.ZERO
    found_gradient, expected_gradient = (
        tf.convert_to_tensor(tape.gradient(value, x, unconnected_gradients=zeros))
        for value in (mean, expected_mean)
    )
    if options["mining"] == "none":
        # |a − p|² and 2 − 2·cos differ off the sphere; their gradients agree along it.
        found_gradient, expected_gradient = (
            g - x * tf.reduce_sum(g * x, axis=1, keepdims=True)
            for g in (found_gradient, expected_gradient)
        )
    np.testing.assert_allclose(found_gradient, expected_gradient, atol=2e-4)


def test_explicit_triplets_by_hand() -> None:
    # Two triplets on the unit circle: d = 2 − 2·cos.
    anchors, positives, negatives = [[1, 0], [1, 0]], [[0, 1], [1, 0]], [[-1, 0], [0, 1]]
    x = tf.constant(anchors + positives + negatives, tf.float32)
    labels = tf.constant([0, 1, 0, 1, 2, 2])
    found = TripletLoss(3.0, "none").sums(labels, x)
    # (d_ap, d_an) = (2, 4) and (0, 2): terms 2 − 4 + 3 and 0 − 2 + 3.
    assert [float(v) for v in found] == [1 + 1, 2, 2, 2 + 0, 4 + 2]
    assert float(TripletLoss(3.0, "none")(labels, x)) == 2 / 2
    # d_pn = (2, 2): swap makes (d_ap, d_an) = (2, 2) and (0, 2), terms 3 and 1.
    assert [float(v) for v in TripletLoss(3.0, "none", swap=True).sums(labels, x)] == [
        3 + 1,
        2,
        2,
        2 + 0,
        2 + 2,
    ]
    # With the margin 1/2 both terms are below 0: 2 − 4 + 1/2 and 0 − 2 + 1/2.
    assert float(TripletLoss(1 / 2, "none")(labels, x)) == 0
    soft = TripletLoss(mining="none", loss="soft_margin")
    assert float(soft(labels, x)) == pytest.approx(math.log(1 + math.exp(-2)))


@pytest.mark.parametrize("options", [{}, {"swap": True}], ids=["sorted", "term by term"])
def test_a_triplet_exactly_at_the_margin_is_not_active(options: dict) -> None:
    x = tf.constant([[1, 0], [0, 1], [-1, 0]], tf.float32)
    found = TripletLoss(2.0, "all", **options).sums(tf.constant([0, 0, 1]), x)
    # Anchor 0: (d_ap, d_an, d_pn) = (2, 4, 2); anchor 1: (2, 2, 4). Swap makes both d_an 2.
    d_an = [2, 2] if options else [4, 2]
    terms = [2 - d + 2 for d in d_an]
    active = sum(term > 0 for term in terms)
    assert [float(v) for v in found] == [sum(terms), active, 2, 2 + 2, sum(d_an)]


@every_loss
@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient_is_finite_between_identical_images(options: dict, distance: str) -> None:
    x = tf.Variable(tf.ones([6, 4]) / 2)
    with tf.GradientTape() as tape:
        loss = build(options, distance)(tf.constant([0, 0, 0, 0, 1, 1]), x)
    expected = MARGIN if options["loss"] == "margin" else math.log(2)
    assert float(loss) == pytest.approx(expected)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, x))).all()


@pytest.mark.parametrize("options", [o for o in LOSSES if o["mining"] != "none"], ids=str)
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]], ids=["no positive", "no negative"])
def test_a_batch_without_triplets_contributes_zero(options: dict, labels: list[int]) -> None:
    x = tf.Variable(triplet_oracle.unit_digits()[0][:3])
    with tf.GradientTape() as tape:
        loss = build(options, "l2")(tf.constant(labels), x)
    assert float(loss) == 0
    gradient = tape.gradient(loss, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), np.zeros((3, 6)))


@every_loss
@pytest.mark.parametrize("bad", [[2], range(9)], ids=["one", "all"])
def test_nan_embeddings_give_a_nan_loss_and_no_crash(options: dict, bad: list[int]) -> None:
    """So that the guard of the training sees it and can say what to do."""
    x = triplet_oracle.unit_digits()[0][:9].copy()
    x[list(bad)] = np.nan
    compiled = tf.function(build(options))  # shapes unknown to the miner, as in training
    assert np.isnan(compiled(tf.constant([0, 0, 0, 1, 1, 1, 2, 2, 2]), tf.constant(x)))


@every_loss
def test_keras_contract(options: dict) -> None:
    """Config round trip; scalar float32 under any policy and from half precision; zero weight."""
    loss = build(options, "cosine")
    copy = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert copy.get_config() == loss.get_config()
    x = tf.constant(triplet_oracle.unit_digits()[0][::8][:6])
    labels = tf.constant([0, 1, 0, 1, 1, 0])
    expected = float(build(options, "cosine")(labels, x))
    assert float(copy(labels, x)) == expected
    assert float(build(options, "cosine")(labels, x, sample_weight=0.0)) == 0
    previous = keras.config.dtype_policy()
    try:
        for policy, half in (("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)):
            keras.config.set_dtype_policy(policy)
            found = build(options, "cosine")(labels, tf.cast(x, half))
            assert (found.dtype, found.shape) == ("float32", ())
            # Only the embeddings are rounded, not the arithmetic.
            rounded = tf.cast(tf.cast(x, half), tf.float32)
            assert float(found) == float(build(options, "cosine")(labels, rounded))
    finally:
        keras.config.set_dtype_policy(previous)


@pytest.mark.parametrize(
    "labels",
    [
        tf.constant([2**24, 2**24, 2**24 + 1, 2**24 + 1]),  # equal in float32
        tf.constant([2**40, 2**40, 2**41, 2**41], tf.int64),  # equal in int32
        tf.constant(["a", "a", "b", "b"]),
    ],
    ids=["above 2^24", "above 2^32", "names"],
)
def test_labels_of_any_kind(labels: tf.Tensor) -> None:
    x = tf.constant(triplet_oracle.unit_digits()[0][:20:5])
    expected = TripletLoss(MARGIN)(tf.constant([0, 0, 1, 1]), x)
    assert float(TripletLoss(MARGIN)(labels, x)) == float(expected) > 0


def test_in_keras_compile_and_fit_the_draws_depend_on_the_seed_only() -> None:
    x, labels = triplet_oracle.unit_digits(dimension=32)

    def losses_of(seed: int) -> list[float]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Dense(16), keras.layers.UnitNormalization()])
        loss = TripletLoss(MARGIN, "distance_weighted", seed=seed)
        model.compile(optimizer="sgd", loss=loss, jit_compile=False)
        fit = model.fit(x, labels, batch_size=len(x), epochs=3, shuffle=False, verbose=0)
        return fit.history["loss"]

    assert losses_of(0) == losses_of(0)
    assert losses_of(0) != losses_of(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "soft_margin", "margin": 0.2}, "margin has no effect with loss = 'soft_margin'"),
        (
            {"distance": "l2", "margin": 3.0},
            r"margin is 3, but no distance = 'l2' is greater than 2",
        ),
        ({"mining": "semi_hard", "swap": True}, "swap makes no sense with mining = 'semi_hard'"),
        ({"mining": "hardest"}, "mining\n.*Input should be 'none', 'all', 'semi_hard'"),
        ({"margin": 0.0}, "margin\n.*greater than 0"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_impossible_combinations_are_refused_when_built(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TripletLoss(**options)


def test_memory_is_quadratic() -> None:
    """The cube of 600 rows takes 824 MB; its pairs of the same of two classes, half of that.

    A process of its own, because the peak of a process never sinks.
    """
    script = f"""
import resource
import numpy as np, tensorflow as tf
from modules.losses.triplet_loss import TripletLoss
from modules.losses.loss_sums import mean_over_active
n = 600
x = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
x = tf.constant(x / np.linalg.norm(x, axis=1, keepdims=True))
labels = tf.constant(np.arange(n) % 2)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def run(options):
    loss = TripletLoss(**options)
    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = mean_over_active(loss.sums(labels, x, tf.constant([0, 0])))
        return value, tape.gradient(value, x)
    assert np.isfinite(step(x)[1]).all()
run({{"mining": "hard"}})
before = peak()
for options in {[o for o in LOSSES if o["mining"] != "none"]!r}:
    run(options)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 200
