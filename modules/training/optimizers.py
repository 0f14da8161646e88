"""The optimizer: AdamW with a schedule, clipping, averaged weights and a slower backbone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from modules.settings import OptimizerSettings


def make_optimizer(
    settings: OptimizerSettings,
    steps: int,
    precision: str = "float32",
    *,
    slow: Collection[keras.Variable] = (),
    slow_factor: float = 1.0,
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a training.

    Args:
        settings: Rate, schedule, decay, clipping and averaging.
        steps: Of the whole training; the schedule ends there.
        precision: Dtype policy of the network. `mixed_float16`, whose gradients may underflow, gets
            dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740): a step whose
            gradients are not finite is left out and the scale is halved.
        slow: Variables that learn at a lower rate.
        slow_factor: Their rate and their decay, relative to the others.

    Returns:
        A Keras optimizer. Its gradients have to be summed over replicas already.
    """
    optimizer = ScaledAdamW(
        slow,
        slow_factor,
        settings.weight_decay,
        learning_rate=rate_schedule(settings, steps),
        global_clipnorm=settings.clip_norm,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema,
    )
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def rate_schedule(
    settings: OptimizerSettings, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of each step.

    It rises from 0 over `rate_warmup_steps` and then stays (`constant`), or falls to 0 like a
    quarter of a cosine wave (`cosine`; Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    warmup, peak = settings.rate_warmup_steps, settings.learning_rate
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else peak,
            decay_steps=max(1, steps - warmup),
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, peak) if warmup else peak


class ScaledAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), slower for some variables.

    Biases, and scales and offsets of normalisation, do not decay: they are vectors, and only
    variables with at least two dimensions do. (Keras's AdamW decays all of them at the full rate.)
    """

    def __init__(
        self,
        slow: Collection[keras.Variable],
        slow_factor: float,
        decay: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._decay = decay
        self._slow_factor = slow_factor
        self._slow = {self._var_key(variable) for variable in slow}

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """One step of Adam, and of the decay before it."""
        if self._var_key(variable) in self._slow:
            learning_rate = learning_rate * self._slow_factor
        if self._decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * (self._decay * learning_rate))
        super().update_step(gradient, variable, learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: list[tuple]) -> list[tuple]:
        """They are summed before, so that clipping sees the gradient of the whole batch."""
        return grads_and_vars
