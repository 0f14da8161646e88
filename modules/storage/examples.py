"""TFRecord files of tf.Examples, read by TensorFlow in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import tensorflow as tf

from modules.contract import FEATURES

_BATCH = 1024


def read_examples(
    files: str | Sequence[str],
    features: Sequence[str] = FEATURES,
    *,
    compression: Literal["", "GZIP"] = "GZIP",
    batch_size: int = _BATCH,
    absent: bytes | None = None,
) -> Iterable[dict[str, tf.Tensor]]:
    """Reads features with one value of bytes each.

    Args:
        files: Paths of TFRecord files, read in this order.
        features: Their names.
        compression: `GZIP`, as ExampleGen writes, or none, as TripletGen writes.
        batch_size: Examples in a batch, but for the last one.
        absent: The value of a feature that an example lacks. Default: that is an error.

    Returns:
        A `tf.data.Dataset` of batches: string tensors [B] by name of the feature.

    Raises:
        tf.errors.OpError: While it is read: a file is missing or broken, or an example lacks a
            feature.
    """
    default = {} if absent is None else {"default_value": absent}
    spec = {name: tf.io.FixedLenFeature([], tf.string, **default) for name in features}
    return without_autotune(
        tf.data.TFRecordDataset(files, compression_type=compression)
        .batch(batch_size)
        .map(lambda serialized: tf.io.parse_example(serialized, spec))
        # Parsed in the thread that reads, while Python works on the batch before.
        .prefetch(1)
    )


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches TensorFlow's tuning of buffers and threads off for a dataset with fixed numbers.

    The tuning thread sleeps in periods that double, and the iterator's end waits for it. That kept
    a training from ending after its last step.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
