"""Schedules, decay, clipping, averaging and scaling of the optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.settings import OptimizerSettings, TrainingSettings
from modules.training.optimizers import RateSchedule, make_optimizer


def variables() -> tuple[keras.Variable, keras.Variable]:
    return keras.Variable(np.ones((2, 2), np.float32)), keras.Variable(np.ones(2, np.float32))


def make(steps: int = 100, precision: str = "float32", **settings):
    rates = settings.pop("rates", ())
    plain = {"schedule": "constant", "rate_warmup_steps": 0}
    settings = OptimizerSettings(**plain | settings)
    return make_optimizer(settings, steps, precision, rates)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"schedule": "constant", "rate_warmup_steps": 0}, {0: 1, 50: 1, 99: 1}),
        ({"schedule": "constant"}, {0: 0, 5: 1 / 2, 10: 1, 99: 1}),
        ({"schedule": "constant", "rate_warmup_steps": 20}, {0: 0, 5: 1 / 4, 20: 1, 99: 1}),
        ({"schedule": "cosine", "rate_warmup_steps": 0}, {0: 1, 50: 1 / 2, 100: 0}),
        ({"schedule": "cosine"}, {0: 0, 5: 1 / 2, 10: 1, 55: 1 / 2, 100: 0}),
        (
            {"schedule": "cosine", "rate_warmup_steps": 20},
            {0: 0, 5: 1 / 4, 20: 1, 60: 1 / 2, 100: 0},
        ),
    ],
)
def test_the_rate_of_a_step(settings: dict, expected: dict[int, float]) -> None:
    rate = RateSchedule(OptimizerSettings(learning_rate=0.5, **settings), steps=100)
    for step, part in expected.items():
        assert float(rate(step)) == pytest.approx(part * 0.5, abs=1e-6)


@pytest.mark.parametrize(("steps", "rising"), [(6, 0), (100, 10), (500, 50), (6000, 50), (0, 50)])
def test_the_rate_rises_in_a_tenth_of_the_steps_or_in_fifty(steps: int, rising: int) -> None:
    """0 steps: not known yet."""
    rate = RateSchedule(OptimizerSettings(learning_rate=0.5, schedule="constant"), steps)
    assert float(rate(rising)) == 0.5
    if rising:
        assert float(rate(rising - 1)) == pytest.approx(0.5 * (rising - 1) / rising)


@pytest.mark.parametrize("warmup", [0, 20])
def test_the_cosine_is_that_of_keras(warmup: int) -> None:
    settings = OptimizerSettings(learning_rate=0.5, rate_warmup_steps=warmup)
    keras_rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else 0.5, 100 - warmup, warmup_target=0.5 if warmup else None,
        warmup_steps=warmup,
    )  # fmt: skip
    rate = RateSchedule(settings, 100)
    for step in range(0, 120, 7):
        assert float(rate(step)) == pytest.approx(float(keras_rate(step)), abs=1e-6)


def test_the_number_of_steps_may_be_settled_on_the_way() -> None:
    """Also for a step that was traced before."""
    steps = keras.Variable(0, dtype="int64")
    rate = RateSchedule(OptimizerSettings(learning_rate=0.5, rate_warmup_steps=10), steps)
    traced = tf.function(rate, input_signature=[tf.TensorSpec([], tf.int64)])
    assert [float(traced(step)) for step in (5, 10, 999)] == [0.25, 0.5, 0.5]
    steps.assign(50)
    found = [float(traced(step)) for step in (5, 10, 30, 50, 999)]
    assert found == pytest.approx([0.25, 0.5, 0.25, 0, 0], abs=1e-6)


def test_matrices_decay_and_vectors_do_not() -> None:
    """Without a gradient three steps leave (1 − 1/10 · 1/2)³ of a matrix."""
    matrix, vector = variables()
    optimizer = make(learning_rate=1 / 10, weight_decay=1 / 2)
    for _ in range(3):
        optimizer.apply([tf.zeros((2, 2)), tf.zeros(2)], [matrix, vector])
    np.testing.assert_allclose(matrix.numpy(), (19 / 20) ** 3, rtol=1e-6)
    np.testing.assert_array_equal(vector.numpy(), 1)


def test_slow_variables_learn_and_decay_slower() -> None:
    """Adam's first step is as long as the rate, whatever the gradient."""
    fast, slow = (keras.Variable(np.ones((2, 2), np.float32)) for _ in range(2))
    optimizer = make(learning_rate=1 / 10, weight_decay=1 / 2, rates=[([slow], 1 / 4)])
    optimizer.apply([tf.ones((2, 2))] * 2, [fast, slow])
    np.testing.assert_allclose(fast.numpy(), 1 - 1 / 20 - 1 / 10, rtol=1e-5)
    np.testing.assert_allclose(slow.numpy(), 1 - 1 / 80 - 1 / 40, rtol=1e-5)


def test_long_gradients_are_clipped_together() -> None:
    """(3, 3, 3, 3) and (0, 0) have the length 6; the first momentum is a tenth of the gradient."""
    matrix, vector = variables()
    optimizer = make(clip_norm=2.0)
    optimizer.apply([3 * tf.ones((2, 2)), tf.zeros(2)], [matrix, vector])
    momentum = optimizer.variables[1].numpy()  # the first one counts the steps
    np.testing.assert_allclose(momentum, 3 * (2 / 6) / 10, rtol=1e-5)


def test_averaged_weights_follow_their_recurrence() -> None:
    matrix, _ = variables()
    optimizer = make(learning_rate=0.1, ema=0.75)
    average = None
    for step in range(4):
        optimizer.apply([tf.fill((2, 2), float(step + 1))], [matrix])
        value = matrix.numpy()
        average = value if average is None else 3 / 4 * average + 1 / 4 * value
    trained = matrix.numpy()
    optimizer.finalize_variable_values([matrix])
    np.testing.assert_allclose(matrix.numpy(), average, rtol=1e-6)
    assert np.abs(average - trained).max() > 0.01


def test_a_step_that_overflows_in_float16_is_left_out_and_the_scale_halved() -> None:
    matrix, vector = variables()
    optimizer = make(precision="mixed_float16", learning_rate=1 / 10)
    optimizer.build([matrix, vector])
    scale = float(optimizer.scale_loss(1.0))
    optimizer.apply([tf.fill((2, 2), np.inf), tf.ones(2)], [matrix, vector])
    np.testing.assert_array_equal(matrix.numpy(), 1)
    assert float(optimizer.scale_loss(1.0)) == scale / 2
    scaled = optimizer.scale_loss(1.0)
    optimizer.apply([scaled * tf.ones((2, 2)), scaled * tf.ones(2)], [matrix, vector])
    np.testing.assert_allclose(matrix.numpy(), 9 / 10, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rate_warmup_steps": 600, "steps": 600},
            "rate would never be reached: rate_warmup_steps is 600",
        ),
        ({"minutes": 0.0}, "greater than 0"),
        ({"clip_norm": 0.0}, "greater than 0"),
        ({"ema": 1.0}, "less than 1"),
        ({"batches": "classes", "batch_size": 64}, "batch_size has no effect with batches = 'cl"),
        ({"images_per_class": 8}, "images_per_class has no effect with batches = 'triplets'"),
        ({"batches": "classes", "mining": "none"}, "mining = 'none' .* set batches = 'triplets'"),
        ({"batch_size": 5}, "greater than or equal to 6"),
        ({"images_per_class": 1}, "greater than or equal to 2"),
        ({"distribution": "two"}, "distribution"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**settings)
