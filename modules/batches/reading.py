"""What all readers of triplet shards share, and the images of the eval split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import ID, IMAGE, LABEL, ROLES

TransformImages = Callable[[tf.Tensor], tf.Tensor]  # encoded, string [N], to pixels [N, H, W, C]
BATCHES_AHEAD = 3


class LabelledImages(NamedTuple):
    """Encoded images with their labels and ids, three object arrays [N] of bytes."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def anchor_images(file_patterns: Sequence[str], limit: int) -> LabelledImages:
    """Reads the anchors of triplet shards, each image once.

    Args:
        file_patterns: Globs of uncompressed TFRecord files with triplets of the contract.
        limit: The largest number of images; they stay in memory, encoded.

    Returns:
        The first anchors by file and place. TripletGen puts them in random order.

    Raises:
        ValueError: If no file matches, or there is nothing in them.
    """
    names = [f"anchor/{name}" for name in (IMAGE, LABEL, ID)]
    features = string_features(ROLES[:1], (IMAGE, LABEL, ID))
    found: dict[bytes, tuple[bytes, bytes, bytes]] = {}
    for serialized in tf.data.TFRecordDataset(triplet_files(file_patterns)).batch(256):
        parsed = tf.io.parse_example(serialized, features)
        for row in zip(*(parsed[name].numpy() for name in names), strict=True):
            found.setdefault(row[2], row)
        if len(found) >= limit:
            break
    rows = list(found.values())[:limit]
    if not rows:
        raise ValueError(f"There are no triplets in {', '.join(file_patterns)}.")
    return LabelledImages(*(np.array(column, object) for column in zip(*rows, strict=True)))


def triplet_files(patterns: Sequence[str]) -> list[str]:
    """The files that match, sorted.

    Raises:
        ValueError: There are none.
    """
    files = sorted({path for pattern in patterns for path in tf.io.gfile.glob(pattern)})
    if not files:
        raise ValueError(
            f"No triplet files match {', '.join(patterns)}. Did TripletGen write this split?"
        )
    return files


def string_features(roles: Sequence[str], names: Sequence[str]) -> dict[str, tf.io.FixedLenFeature]:
    """What `tf.io.parse_example` needs to read features of these roles, such as `anchor/image`."""
    return {
        f"{role}/{name}": tf.io.FixedLenFeature([], tf.string) for role in roles for name in names
    }


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches TensorFlow's tuning of buffers and threads off for a dataset with fixed numbers.

    Its thread sleeps in periods that double (10 ms, 20 ms, …, 41 s) and the iterator's end waits
    for it, which kept Trainer up to 20 s after the last step.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
