"""The proxy-anchor loss: rows against one learnt point per class."""

from __future__ import annotations

import tensorflow as tf

from modules.losses.loss_values import LossValues
from modules.losses.pairs import log_one_plus_sum, make_pairs, masked_mean, mean_distances


class ProxyAnchorLoss:
    """Kim et al. 2020, arXiv:2003.13911, equation 4.

    Each of the C classes has a proxy p, scaled to length 1 before use. With S the cosine, X_p⁺ the
    rows of the proxy's class, X_p⁻ all other rows, and P⁺ the proxies with a row in the batch

        L = 1/|P⁺| Σ_{p∈P⁺} log(1 + Σ_{x∈X_p⁺} exp(−alpha·(S(x, p) − margin)))
          + 1/C   Σ_p      log(1 + Σ_{x∈X_p⁻} exp( alpha·(S(x, p) + margin)))

    `active` is the fraction of pairs of a row and a proxy on the wrong side of the margin; `d_ap`
    and `d_an` are those between rows. Time and memory are O(N·C).

    Args:
        alpha: How sharply hard rows are weighed.
        margin: δ of the paper, of the cosine.
    """

    def __init__(self, alpha: float = 32.0, margin: float = 0.1) -> None:
        self._alpha, self._margin = alpha, margin

    def __call__(
        self, labels: tf.Tensor, embeddings: tf.Tensor, classes: tf.Tensor, proxies: tf.Tensor
    ) -> LossValues:
        """Looks at a batch and all proxies.

        Args:
            labels: [N], each of them in `classes`.
            embeddings: [N, D], unit rows of any float type.
            classes: [C], distinct labels.
            proxies: float32 [C, D], any rows other than 0; the gradient flows here too.

        Raises:
            tf.errors.InvalidArgumentError: A label has no proxy.
        """
        embeddings = tf.cast(embeddings, tf.float32)
        cosine = tf.matmul(embeddings, tf.math.l2_normalize(proxies, axis=1), transpose_b=True)
        own = labels[:, None] == classes[None, :]
        known = tf.debugging.Assert(
            tf.reduce_all(tf.reduce_any(own, axis=1)),
            ["A label of the batch is none of the classes that have a proxy:", labels],
        )
        with tf.control_dependencies([known] if known is not None else []):
            inside = self._alpha * (self._margin - cosine)
        outside = self._alpha * (self._margin + cosine)
        present = tf.reduce_any(own, axis=0)
        loss = masked_mean(log_one_plus_sum(inside, own, axis=0), present)
        loss += tf.reduce_mean(log_one_plus_sum(outside, ~own, axis=0))
        wrong = tf.where(own, inside, outside) > 0
        return LossValues(
            loss,
            tf.reduce_mean(tf.cast(wrong, tf.float32)),
            *mean_distances(make_pairs(labels, embeddings)),
        )
