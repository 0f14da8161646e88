"""From settings to the one call that a training step makes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from modules.losses.loss_values import LossValues, values_of
from modules.losses.memory import Rows
from modules.losses.multi_similarity import MultiSimilarityLoss
from modules.losses.own_code import make_own_loss
from modules.losses.proxy_anchor import ProxyAnchorLoss
from modules.losses.supervised_contrastive import SupervisedContrastiveLoss
from modules.losses.triplet_loss import TripletLoss, triplet_options
from modules.settings import LossSettings

# From a batch, the memory (or None) and the seed of the step's draws.
Objective = Callable[[Rows, Rows | None, tf.Tensor], LossValues]


def make_objective(
    settings: LossSettings,
    classes: tf.Tensor | None = None,
    proxies: Callable[[], tf.Tensor] | None = None,
) -> Objective:
    """Builds the loss that the settings choose.

    Args:
        settings: The loss and its options.
        classes: Labels [C] of all classes, if `settings.needs_classes`.
        proxies: Reads float32 [C, D], then.
    """
    pairs = _loss_of_pairs(settings)
    if settings.of_triplets:
        triplets = TripletLoss(**triplet_options(settings))
        return lambda rows, memory, seed: values_of(triplets.sums(*rows, seed, memory))
    if pairs is not None:
        return lambda rows, memory, seed: pairs(*rows, memory)
    if settings.loss == "proxy_anchor":
        assert classes is not None
        assert proxies is not None
        read = proxies
        anchor = ProxyAnchorLoss(**_given(settings, "alpha", "margin"))
        return lambda rows, memory, seed: anchor(*rows, classes, read())
    own = make_own_loss(settings.loss, settings.loss_options)
    return lambda rows, memory, seed: own(*rows)


def _loss_of_pairs(
    settings: LossSettings,
) -> MultiSimilarityLoss | SupervisedContrastiveLoss | None:
    if settings.loss == "multi_similarity":
        return MultiSimilarityLoss(**_given(settings, "alpha", "beta", "base", "epsilon"))
    if settings.loss == "supervised_contrastive":
        return SupervisedContrastiveLoss(**_given(settings, "temperature"))
    return None


def _given(settings: LossSettings, *keys: str) -> dict[str, float]:
    return settings.model_dump(include=set(keys))
