"""The multi-similarity loss: it chooses hard pairs and weighs them by all others of a row."""

from __future__ import annotations

import math

import tensorflow as tf

from modules.losses.loss_values import LossValues
from modules.losses.memory import Rows
from modules.losses.pairs import log_one_plus_sum, make_pairs, mean_distances


class MultiSimilarityLoss:
    """Wang et al. 2019, arXiv:1904.06627, equations 11 to 15.

    With S the cosine, row i keeps the positives with S_ik < max over negatives S + epsilon and the
    negatives with S_ik > min over positives S − epsilon. Of these sets P and N

        L = 1/n Σ_i ( 1/alpha · log(1 + Σ_{k∈P_i} exp(−alpha·(S_ik − base)))
                    + 1/beta  · log(1 + Σ_{k∈N_i} exp( beta ·(S_ik − base))) )

    over the n rows of the batch. A row without a positive or without a negative keeps no pair and
    adds 0. `active` is the fraction of rows that keep a pair. With a memory, rows are compared with
    it too; the mean is over the batch.

    Args:
        alpha: How sharply positives are weighed.
        beta: How sharply negatives are weighed.
        base: The cosine that positives should exceed and negatives stay below.
        epsilon: How far from the hardest a pair may be and still be kept.
    """

    def __init__(
        self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1
    ) -> None:
        self._alpha, self._beta, self._base, self._epsilon = alpha, beta, base, epsilon

    def __call__(
        self, labels: tf.Tensor, embeddings: tf.Tensor, memory: Rows | None = None
    ) -> LossValues:
        """Looks at labels [N] and unit embeddings [N, D] of any float type."""
        pairs = make_pairs(labels, embeddings, memory)
        positives, negatives = self._choose(tf.stop_gradient(pairs.cosine), *pairs[1:])
        beyond = pairs.cosine - self._base
        terms = (
            log_one_plus_sum(-self._alpha * beyond, positives, axis=1) / self._alpha
            + log_one_plus_sum(self._beta * beyond, negatives, axis=1) / self._beta
        )
        kept = tf.reduce_any(positives | negatives, axis=1)
        return LossValues(
            tf.reduce_mean(terms), tf.reduce_mean(tf.cast(kept, tf.float32)), *mean_distances(pairs)
        )

    def _choose(
        self, cosine: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pairs to keep, bool [N, K] each."""
        nearest = tf.reduce_max(tf.where(negatives, cosine, -math.inf), axis=1, keepdims=True)
        farthest = tf.reduce_min(tf.where(positives, cosine, math.inf), axis=1, keepdims=True)
        unknown = tf.math.is_nan(cosine)  # kept, for the loss to become NaN
        return (
            positives & ((cosine < nearest + self._epsilon) | unknown),
            negatives & ((cosine > farthest - self._epsilon) | unknown),
        )
