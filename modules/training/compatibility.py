"""The earlier model that a training is to stay compatible with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.batches import FeatureCache, LookUp
from modules.models import Embedder


class Earlier(NamedTuple):
    """An earlier model's embeddings of all training images.

    Attributes:
        look_up: By the keys of the images.
        note: What there is to tell.
    """

    look_up: LookUp
    note: str


def embed_by_earlier(
    model: str, train_files: list[str], dimension: int, limit: int, folder: str
) -> Earlier:
    """Embeds every training image once, as it is, by an earlier model.

    It need not be the same network, nor see images of the same size; it has its own preprocessing.

    Args:
        model: Its SavedModel.
        train_files: Globs of triplets.
        dimension: D of the new model.
        limit: Bytes that the embeddings may take in memory; else they are kept in a file.
        folder: For that file; it has to stay while there is training.

    Raises:
        ValueError: The earlier model has another dimension, or not the signature `images`.
    """
    began = time.monotonic()
    embedder = Embedder(model)

    def embed(images: tf.Tensor) -> tf.Tensor:
        return tf.constant(embedder(images.numpy().tolist()))

    own = f"{folder}/earlier"  # the features of a frozen backbone lie beside it
    Path(own).mkdir()
    found = FeatureCache(train_files, np.empty(0, object), embed, own, limit)
    if found.size != dimension:
        raise ValueError(
            f"training.compatibility_weight compares with the last blessed model, {model}, whose "
            f"embedding has {found.size} dimensions, and model.embedding_size is {dimension}: "
            "there is nothing to keep compatible. Give both the same, or set "
            "compatibility_weight = 0."
        )
    return Earlier(
        found.of_keys,
        f"{found.count} images embedded by the last blessed model, to stay compatible with it, in "
        f"{time.monotonic() - began:.0f} s.",
    )
