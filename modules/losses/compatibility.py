"""The loss that keeps a new embedding at home among the vectors of an earlier model."""

from __future__ import annotations

import tensorflow as tf

from modules.losses.memory import Rows
from modules.losses.pairs import masked_mean

_TEMPERATURE = 0.1  # as of the supervised contrastive loss


def compatibility_loss(new: Rows, old: Rows) -> tf.Tensor:
    """The influence loss of backward-compatible training, of a batch.

    Shen et al. 2020, "Towards Backward-Compatible Representation Learning", arXiv:2003.11942: the
    new embedding also has to do what the old classifier asks. An embedding that is searched has no
    classifier. Its gallery takes that place: the old vectors of the batch. With S_ij the cosine of
    new row i and old row j, and P_i the old rows of row i's class, that of its own image too,

        L_i = −1/|P_i| Σ_{p∈P_i} log( exp(S_ip / 0.1) / Σ_j exp(S_ij / 0.1) )

    and L is the mean over the rows that have a P_i; 0 if there is none.

    Args:
        new: Labels [N] and unit embeddings [N, D], with gradient.
        old: Labels [M] and unit embeddings [M, D] of the earlier model, without.

    Returns:
        float32 [].
    """
    vectors = tf.stop_gradient(tf.cast(old.embeddings, tf.float32))
    cosine = tf.matmul(tf.cast(new.embeddings, tf.float32), vectors, transpose_b=True)
    logits = cosine / _TEMPERATURE
    positives = new.labels[:, None] == tf.cast(old.labels, new.labels.dtype)[None, :]
    counts = tf.reduce_sum(tf.cast(positives, tf.float32), axis=1)
    to_positives = tf.reduce_sum(tf.where(positives, logits, 0.0), axis=1)
    terms = tf.reduce_logsumexp(logits, axis=1) - to_positives / tf.maximum(counts, 1.0)
    return masked_mean(terms, counts > 0)
