"""Rows of all replicas, put together."""

from __future__ import annotations

import tensorflow as tf


def gather_rows(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas in the order of the replicas, the same on each (in a replica).

    Each replica has as many. They are added to zeros in the other replicas' places, which changes
    no bit of them; `all_gather` of TensorFlow 2.21 does not work in a graph on several machines.
    The gradient is the sum over the replicas.

    Args:
        rows: Numbers [N, …] of this replica.

    Returns:
        [N · replicas, …].
    """
    replica = tf.distribute.get_replica_context()
    count = replica.num_replicas_in_sync
    if count == 1:
        return rows
    number, size = replica.replica_id_in_sync_group, tf.shape(rows)[0]
    before, after = number * size, (count - 1 - number) * size
    rest = tf.zeros([tf.rank(rows) - 1, 2], tf.int32)
    places = tf.concat([[[before, after]], rest], axis=0)
    # The gradient of `pad` is the slice of these places.
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.pad(rows, places))
