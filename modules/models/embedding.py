"""Embeds many images in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

EMBED_BATCH = 256  # images


def embed_in_batches(
    embed: Callable[[tf.Tensor], tf.Tensor],
    images: Sequence[bytes] | np.ndarray,
    *,
    batch_size: int = EMBED_BATCH,
    filled: bool = False,
) -> np.ndarray:
    """Embeds images in batches of one size, always cut at the same places.

    Args:
        embed: Encoded images, string [B], to embeddings, float32 [B, D].
        images: Encoded images, N of them, at least one.
        batch_size: B, but for the last batch.
        filled: Repeat the last image until the last batch is full too. The kernels of a network are
            chosen by the size of the batch, so only then an embedding is the same, bit by bit,
            whichever images are beside it.

    Returns:
        float32 [N, D].
    """
    images = list(images)
    total = len(images)
    if filled:
        images += images[-1:] * (-total % batch_size)
    starts = range(0, len(images), batch_size)
    batches = (tf.constant(images[start : start + batch_size], tf.string) for start in starts)
    return np.concatenate([np.asarray(embed(batch)) for batch in batches])[:total]


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
