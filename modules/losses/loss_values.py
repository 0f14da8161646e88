"""What every loss says of a batch, whatever it is made of."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from modules.losses.loss_sums import LossSums, mean_over_active


class LossValues(NamedTuple):
    """What is minimised and logged, float32 [] each.

    `loss` has the gradient. `active` is the fraction of what the loss looks at that still has a
    say: triplets above 0, or what the loss of pairs says in its docstring. `d_ap` and `d_an` are
    the mean distances of positives and negatives, 0 if there are none.
    """

    loss: tf.Tensor
    active: tf.Tensor
    d_ap: tf.Tensor
    d_an: tf.Tensor


def values_of(triplets: LossSums) -> LossValues:
    """The loss is the mean over active triplets, the others are means over all of them."""
    count = tf.maximum(triplets.count, 1.0)
    return LossValues(
        mean_over_active(triplets),
        triplets.active / count,
        triplets.d_ap / count,
        triplets.d_an / count,
    )
