"""The optimizer: AdamW with a schedule, clipping, averaged weights, a rate for each part."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from modules.settings import OptimizerSettings
from modules.training.scaled_adamw import ScaledAdamW


def make_optimizer(
    settings: OptimizerSettings,
    steps: int,
    precision: str = "float32",
    rates: Iterable[tuple[Iterable[keras.Variable], float]] = (),
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a training.

    Args:
        settings: Rate, schedule, decay, clipping and averaging.
        steps: Of the whole training; the schedule ends there.
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
