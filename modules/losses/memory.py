"""Cross-batch memory: embeddings of earlier batches, as more positives and negatives.

Wang et al. 2020, "Cross-batch memory for embedding learning", arXiv:1912.06798: weights move
slowly, so embeddings of a few steps ago are still good to compare with, and a batch finds harder
negatives among thousands than among its own hundreds. Anchors are the rows of the batch; the
gradient flows through these alone.

A batch carries no ids. So an older embedding of an image that is in the batch again is a positive
like any other of its class, and an easy one. The more images a class has, beside the size of the
memory, the rarer that is.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf


class Rows(NamedTuple):
    """Labelled embeddings."""

    labels: tf.Tensor  # [N], of any type that has an equality
    embeddings: tf.Tensor  # float32 [N, D], unit rows


def with_memory(rows: Rows, memory: Rows | None) -> Rows:
    """What the rows of a batch are compared with: themselves, then the memory, without gradient."""
    if memory is None:
        return rows
    labels = tf.cast(memory.labels, rows.labels.dtype)
    return Rows(
        tf.concat([rows.labels, labels], axis=0),
        tf.concat([rows.embeddings, tf.stop_gradient(memory.embeddings)], axis=0),
    )


class Memory(keras.layers.Layer):
    """A ring of the latest embeddings, in variables that are saved with the training.

    On several replicas every one holds the whole, which is the same everywhere: it remembers the
    gathered batch.

    Args:
        size: How many embeddings to keep.
        dimension: D, the size of an embedding.
    """

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__(name="memory", dtype="float32")
        self._size = size

        def variable(name: str, shape: tuple[int, ...], dtype: str) -> keras.Variable:
            return self.add_weight(
                shape=shape, dtype=dtype, initializer="zeros", trainable=False, name=name,
                aggregation="only_first_replica",
            )  # fmt: skip

        self._embeddings = variable("embeddings", (size, dimension), "float32")
        self._labels = variable("labels", (size,), "int64")
        self._seen = variable("seen", (), "int64")
        self.built = True

    def rows(self, use: bool | tf.Tensor = True) -> Rows:
        """What is remembered: int64 [M], float32 [M, D]; nothing unless it is to be used."""
        filled = tf.minimum(tf.convert_to_tensor(self._seen), self._size)
        count = tf.where(use, filled, 0)
        return Rows(
            tf.convert_to_tensor(self._labels)[:count],
            tf.convert_to_tensor(self._embeddings)[:count],
        )

    def remember(self, rows: Rows) -> None:
        """Takes a batch in, the oldest rows go; of a batch above the size the last rows stay."""
        labels, embeddings = tf.cast(rows.labels[-self._size :], tf.int64), rows.embeddings
        embeddings = tf.stop_gradient(tf.cast(embeddings[-self._size :], tf.float32))
        count = tf.shape(labels, out_type=tf.int64)[0]
        seen = tf.convert_to_tensor(self._seen)
        places = ((seen + tf.range(count)) % self._size)[:, None]
        for variable, values in ((self._labels, labels), (self._embeddings, embeddings)):
            old = tf.convert_to_tensor(variable)
            variable.assign(tf.tensor_scatter_nd_update(old, places, values))
        self._seen.assign(seen + count)
