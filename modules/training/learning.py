"""What of a network learns, and what it learns from."""

from __future__ import annotations

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from modules.batches import FeatureCache, TransformImages
from modules.models import add_lora, split_frozen
from modules.settings import ModelSettings, TrainingSettings


class Learning(NamedTuple):
    """For `compile_model` and `fit`.

    Attributes:
        network: Shares its variables with the whole one.
        take_images: Encoded images, string [N], to what it takes.
        note: What there is to tell, if anything.
    """

    network: keras.Model
    take_images: TransformImages
    note: str | None = None


def prepare_learning(
    embedder: keras.Model,
    model: ModelSettings,
    training: TrainingSettings,
    transform_images: TransformImages,
    train_files: list[str],
    validation: np.ndarray,
    folder: str,
) -> Learning:
    """Does what `model.trainable` says, but for the rates of learning (in the strategy's scope).

    `lora` gets its matrices. With `head` what the frozen backbone makes of every image is computed
    here and now, unless images change at random: then it differs in each step.

    Args:
        embedder: From `build_embedding_model`, with the weights to start from.
        model: Of the network.
        training: Of the training.
        transform_images: Encoded images, string [N], to pixels.
        train_files: Globs of triplets.
        validation: Encoded images, object [N] of bytes, that are in none of these files.
        folder: On this machine, for features that memory is too small for; it has to stay while
            there is training.

    Returns:
        What learns.
    """
    if model.trainable == "lora":
        add_lora(embedder, model.lora_rank)
    if model.trainable != "head" or training.changes_images:
        return Learning(embedder, transform_images)
    backbone, head = split_frozen(embedder)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def extract(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(backbone(transform_images(images), training=False), tf.float32)

    began = time.monotonic()
    limit = training.cache_megabytes * 2**20
    features = FeatureCache(train_files, validation, extract, folder, limit)
    place = "memory" if features.in_memory else "a file"
    note = (
        f"Features of {features.count} images, {features.size} numbers each, computed once in "
        f"{time.monotonic() - began:.0f} s and kept in {place}."
    )
    return Learning(head, features.look_up, note)
