"""Training of the head alone, on features that are computed once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from modules.batches import FeatureCache, TransformImages
from modules.models import split_frozen


def with_features(
    embedder: keras.Model,
    transform_images: TransformImages,
    files: Sequence[str],
    folder: str,
    cache_megabytes: int,
) -> tuple[keras.Model, TransformImages]:
    """Computes what the frozen backbone makes of every image, and says how long it took.

    Only right where no image is changed at random: each has one vector of features.

    Args:
        embedder: Built with `trainable = "head"`.
        transform_images: Encoded images, string [N], to pixels.
        files: Globs of all images of the training and of its validation.
        folder: On this machine, for features that do not fit into memory.
        cache_megabytes: That the features may take in memory.

    Returns:
        The head, which has the variables of the embedder, and encoded images to what it takes.
    """
    backbone, head = split_frozen(embedder)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def extract(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(backbone(transform_images(images), training=False), tf.float32)

    began = time.monotonic()
    features = FeatureCache(files, extract, folder, cache_megabytes * 2**20)
    place = "memory" if features.in_memory else "a file"
    print(  # noqa: T201
        f"Features of {features.count} images, {features.size} numbers each, computed once in "
        f"{time.monotonic() - began:.0f} s and kept in {place}.",
        flush=True,
    )
    return head, features.look_up
