"""Distances between unit vectors: what a margin refers to.

Each is a function of the squared L2 distance s = ‖a − b‖² = 2 − 2·cos, so all of them order rows in
the same way, and mining needs only s.

| name         | formula          | largest | gradient between identical rows |
|--------------|------------------|---------|---------------------------------|
| `squared_l2` | s = 2 − 2·cos    | 4       | finite: no square root is taken |
| `l2`         | √s               | 2       | 0 by definition, see `l2`       |
| `cosine`     | s / 2 = 1 − cos  | 2       | finite                          |

A margin m on `cosine` is the margin 2·m on `squared_l2`, with half the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Squared distances below are rounding noise of 2 − 2·cos in float32 and count as 0 for `l2`.
_NOISE = 1e-6


def pairwise_squared(embeddings: tf.Tensor, candidates: tf.Tensor | None = None) -> tf.Tensor:
    """Squared L2 distances between all rows and all candidates.

    Args:
        embeddings: float32 [N, D], each row of norm 1.
        candidates: float32 [K, D], each row of norm 1; default: the embeddings.

    Returns:
        float32 [N, K], 2 − 2·cos, never negative.
    """
    candidates = embeddings if candidates is None else candidates
    return tf.maximum(2.0 - 2.0 * tf.matmul(embeddings, candidates, transpose_b=True), 0.0)


def rowwise_squared(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared L2 distances between the rows of `a` and those of `b`, float32 [N, D] to [N]."""
    return tf.reduce_sum(tf.math.squared_difference(a, b), axis=1)


def squared_l2(squared: tf.Tensor) -> tf.Tensor:
    """The squared L2 distance itself, 2 − 2·cos, at most 4; float32 of any shape."""
    return squared


def l2(squared: tf.Tensor) -> tf.Tensor:
    """The Euclidean distance, at most 2; float32 of any shape.

    Its slope 1 / (2·√s) is infinite at s = 0. Below s = 1e-6 (identical images happen) distance and
    gradient are 0.
    """
    apart = squared > _NOISE
    # NaN is not "apart" by comparison; it must stay NaN and not become a distance of 0.
    apart |= tf.math.is_nan(squared)
    # The inner `where` keeps the slope at 0 out of the gradient: 0 · ∞ would be NaN.
    return tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)


def cosine(squared: tf.Tensor) -> tf.Tensor:
    """The cosine distance 1 − cos, at most 2; float32 of any shape."""
    return squared / 2.0


DISTANCES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "squared_l2": squared_l2,
    "l2": l2,
    "cosine": cosine,
}
