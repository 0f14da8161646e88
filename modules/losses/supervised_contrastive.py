"""The supervised contrastive loss: every positive against all other rows."""

from __future__ import annotations

import math

import tensorflow as tf

from modules.losses.loss_values import LossValues
from modules.losses.memory import Rows
from modules.losses.pairs import make_pairs, masked_mean, mean_distances


class SupervisedContrastiveLoss:
    """Khosla et al. 2020, arXiv:2004.11362, equation 2: L_out.

    With S the cosine, P_i the other rows of row i's class and A_i all rows but i

        L_i = −1/|P_i| Σ_{p∈P_i} log( exp(S_ip / temperature) / Σ_{a∈A_i} exp(S_ia / temperature) )

    and L is the mean over the rows with a positive; 0 if there is none. `active` is the fraction of
    such rows. With a memory, its rows belong to P and A.

    Args:
        temperature: The lower, the more the nearest rows count.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        self._temperature = temperature

    def __call__(
        self, labels: tf.Tensor, embeddings: tf.Tensor, memory: Rows | None = None
    ) -> LossValues:
        """Looks at labels [N] and unit embeddings [N, D] of any float type."""
        pairs = make_pairs(labels, embeddings, memory)
        logits = pairs.cosine / self._temperature
        counts = tf.reduce_sum(tf.cast(pairs.positives, tf.float32), axis=1)
        usable = counts > 0
        # A row alone in the batch has no others; it does not count and may look at itself.
        others = pairs.positives | pairs.negatives | ~usable[:, None]
        to_all = tf.reduce_logsumexp(tf.where(others, logits, -math.inf), axis=1)
        to_positives = tf.reduce_sum(tf.where(pairs.positives, logits, 0.0), axis=1)
        terms = to_all - to_positives / tf.maximum(counts, 1.0)
        return LossValues(
            masked_mean(terms, usable),
            tf.reduce_mean(tf.cast(usable, tf.float32)),
            *mean_distances(pairs),
        )
