"""The pairs of a batch: what losses other than those of triplets look at."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from modules.losses.memory import Rows, with_memory


class Pairs(NamedTuple):
    """Every row of a batch beside every candidate; the first N candidates are the rows."""

    cosine: tf.Tensor  # float32 [N, K], with gradient
    positives: tf.Tensor  # bool [N, K], of one class, without the row itself
    negatives: tf.Tensor  # bool [N, K], of different classes


def make_pairs(labels: tf.Tensor, embeddings: tf.Tensor, memory: Rows | None = None) -> Pairs:
    """Compares a batch with itself and with the memory.

    Args:
        labels: [N], of any type that has an equality.
        embeddings: [N, D], unit rows of any float type.
        memory: More candidates.
    """
    embeddings = tf.cast(embeddings, tf.float32)
    candidates = with_memory(Rows(labels, embeddings), memory)
    same = labels[:, None] == candidates.labels[None, :]
    return Pairs(
        cosine=tf.matmul(embeddings, candidates.embeddings, transpose_b=True),
        positives=tf.linalg.set_diag(same, tf.zeros(tf.shape(labels), tf.bool)),
        negatives=~same,
    )


def mean_distances(pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean squared L2 distances 2 − 2·cos of positives and negatives, float32 []; 0 for none."""
    squared = tf.maximum(2.0 - 2.0 * tf.stop_gradient(pairs.cosine), 0.0)
    return masked_mean(squared, pairs.positives), masked_mean(squared, pairs.negatives)


def masked_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean of the values float32 where the mask is true, 0 if it is nowhere."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32))
    return tf.reduce_sum(tf.where(mask, values, 0.0)) / tf.maximum(count, 1.0)


def log_one_plus_sum(exponents: tf.Tensor, mask: tf.Tensor, axis: int) -> tf.Tensor:
    """log(1 + Σ exp(exponent)) over the masked ones along an axis, which no exponent overflows.

    0 where the mask is nowhere true, with the gradient 0.
    """
    masked = tf.where(mask, exponents, -math.inf)
    one = tf.zeros_like(tf.reduce_sum(exponents, axis=axis, keepdims=True))  # exp(0)
    return tf.reduce_logsumexp(tf.concat([one, masked], axis=axis), axis=axis)
