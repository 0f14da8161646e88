"""Embeds many images in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

EMBED_BATCH = 256  # images


def embed_in_batches(
    embed: Callable[[tf.Tensor], tf.Tensor], images: Sequence[bytes] | np.ndarray
) -> np.ndarray:
    """Embeds images in batches of 256, always cut at the same places.

    Args:
        embed: Encoded images, string [B], to embeddings, float32 [B, D].
        images: Encoded images, N of them, at least one.

    Returns:
        float32 [N, D].
    """
    starts = range(0, len(images), EMBED_BATCH)
    batches = (tf.constant(images[start : start + EMBED_BATCH], tf.string) for start in starts)
    return np.concatenate([np.asarray(embed(batch)) for batch in batches])


def compile_embedding(
    network: Callable[..., tf.Tensor], transform_images: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Puts the transform graph and a network into one graph.

    Args:
        network: Pixels, float32 [B, H, W, C], to embeddings, float32 [B, D].
        transform_images: Encoded images, string [B], to those pixels.

    Returns:
        A function for `embed_in_batches`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def embed(images: tf.Tensor) -> tf.Tensor:
        return network(transform_images(images), training=False)

    return embed
