"""From the terms of triplets to one number."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class LossSums(NamedTuple):
    """What the triplets of a batch add up to, float32 [] each.

    `loss` is the sum of the loss terms, `active` the number of terms above 0, `count` the number of
    triplets; `d_ap` and `d_an` are the sums of their distances as the terms saw them.
    """

    loss: tf.Tensor
    active: tf.Tensor
    count: tf.Tensor
    d_ap: tf.Tensor
    d_an: tf.Tensor


def add_up(terms: tf.Tensor, d_ap: tf.Tensor, d_an: tf.Tensor) -> LossSums:
    """Adds T triplets up: loss terms and distances, float32 [T] each."""
    return LossSums(
        loss=tf.reduce_sum(terms),
        active=tf.reduce_sum(tf.cast(terms > 0, tf.float32)),
        count=tf.cast(tf.size(terms), tf.float32),
        d_ap=tf.reduce_sum(d_ap),
        d_an=tf.reduce_sum(d_an),
    )


def mean_over_active(triplets: LossSums) -> tf.Tensor:
    """The mean of the loss over active triplets, float32 []; 0 when none is active.

    Triplets that have reached their margin say nothing more. A mean over all triplets would let the
    loss fade as these become many (Hermans et al. 2017, section 3.2).
    """
    return triplets.loss / tf.maximum(triplets.active, 1.0)
