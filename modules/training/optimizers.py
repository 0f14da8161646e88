"""The optimizer: AdamW with a schedule, clipping, averaged weights, a rate for each part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from modules.settings import OptimizerSettings
from modules.training.scaled_adamw import ScaledAdamW


def make_optimizer(
    settings: OptimizerSettings,
    steps: int | keras.Variable,
    precision: str = "float32",
    rates: Iterable[tuple[Iterable[keras.Variable], float]] = (),
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a training.

    Args:
        settings: Rate, schedule, decay, clipping and averaging.
        steps: Of the whole training; the schedule ends there, see `RateSchedule`.
        precision: Dtype policy of the network. `mixed_float16`, whose gradients may underflow, gets
            dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740): a step whose
            gradients are not finite is left out and the scale is halved.
        rates: Variables that learn at another rate, and by which factor it and their decay differ.

    Returns:
        A Keras optimizer. Its gradients have to be summed over replicas already.
    """
    optimizer = ScaledAdamW(
        rates,
        settings.weight_decay,
        learning_rate=RateSchedule(settings, steps),
        global_clipnorm=settings.clip_norm,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema,
    )
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


# The part of the steps in which the rate rises where the settings do not say it, and the most.
_RISING, _MOST_RISING = 0.1, 50.0


class RateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step.

    It rises from 0 over `rate_warmup_steps` and then stays (`constant`), or falls to 0 like
    half a cosine wave (`cosine`; Loshchilov and Hutter 2017, arXiv:1608.03983).

    Args:
        settings: Rate and schedule.
        steps: Of the whole training. As a variable it may change on the way; 0: not known yet, the
            rate does not fall.
    """

    def __init__(self, settings: OptimizerSettings, steps: int | keras.Variable) -> None:
        super().__init__()
        self._peak = settings.learning_rate
        self._warmup = settings.rate_warmup_steps  # None: by the steps
        self._falls = settings.schedule == "cosine"
        self._steps = steps

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The rate, float32 [], of the step with this number, counted from 0."""
        step = tf.cast(step, tf.float32)
        steps = tf.cast(tf.convert_to_tensor(self._steps), tf.float32)
        warmup = self._rising(steps)
        rate = self._peak * tf.minimum(step / tf.maximum(warmup, 1.0), 1.0)
        rate = tf.where(warmup > 0, rate, self._peak)
        if self._falls:
            past = (step - warmup) / tf.maximum(steps - warmup, 1.0)
            past = tf.where(steps > 0, tf.clip_by_value(past, 0.0, 1.0), 0.0)
            rate *= (1 + tf.cos(math.pi * past)) / 2
        return rate

    def _rising(self, steps: tf.Tensor) -> tf.Tensor:
        """The steps in which the rate rises, float32 []."""
        if self._warmup is not None:
            return tf.constant(float(self._warmup))
        few = tf.floor(steps * _RISING)
        return tf.where(steps > 0, tf.minimum(few, _MOST_RISING), _MOST_RISING)

    def get_config(self) -> dict[str, Any]:
        """Not written: a training is restored from checkpoints, not from a saved model."""
        raise NotImplementedError
