"""TFRecord files of tf.Examples, read by TensorFlow in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    types: Mapping[str, tf.DType] | None = None,
) -> Iterable[dict[str, tf.Tensor]]:
    """Reads features with one value each.

    Args:
        files: Paths of TFRecord files, read in this order.
        features: Their names.
        compression: `GZIP`, as ExampleGen writes, or none, as TripletGen writes.
        batch_size: Examples in a batch, but for the last one.
        absent: The value of a feature that an example lacks. Default: that is an error.
        types: Of features that are no bytes, as `feature_types` tells them.

    Returns:
        A `tf.data.Dataset` of batches: tensors [B] by name of the feature, string by default.

    Raises:
        tf.errors.OpError: While it is read: a file is missing or broken, or an example lacks a
            feature.
    """
    default = {} if absent is None else {"default_value": absent}
    spec = {
        name: tf.io.FixedLenFeature([], (types or {}).get(name, tf.string), **default)
        for name in features
    }
    return without_autotune(
        tf.data.TFRecordDataset(files, compression_type=compression)
        .batch(batch_size)
        .map(lambda serialized: tf.io.parse_example(serialized, spec))
        # Parsed in the thread that reads, while Python works on the batch before.
        .prefetch(1)
    )


def feature_types(files: Iterable[str]) -> dict[str, tf.DType]:
    """Tells which features the first example there is has.

    Args:
        files: Paths of gzipped TFRecord files of tf.Examples, looked at in this order.

    Returns:
        string, int64 or float32 by name of the feature; nothing without an example.
    """
    kinds = {"bytes_list": tf.string, "int64_list": tf.int64, "float_list": tf.float32}
    for file in files:
        for record in tf.data.TFRecordDataset(file, "GZIP").take(1).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            found = {name: value.WhichOneof("kind") for name, value in features.items()}
            return {name: kinds[kind] for name, kind in found.items() if kind}
    return {}


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches TensorFlow's tuning of buffers and threads off for a dataset with fixed numbers.

    The tuning thread sleeps in periods that double, and the iterator's end waits for it. That kept
    a training from ending after its last step.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
