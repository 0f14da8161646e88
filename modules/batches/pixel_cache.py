"""Images decoded once, where they fit into memory."""

from __future__ import annotations

import math
import os

import numpy as np
import tensorflow as tf

from modules.batches.reading import TransformImages
from modules.storage import without_autotune

_DECODED_AT_ONCE = 256


def decode_if_fits(
    images: np.ndarray, transform_images: TransformImages, limit: int
) -> np.ndarray | None:
    """Decodes all images, if their pixels take no more than `limit` bytes.

    Args:
        images: Encoded, object [N] of bytes.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        limit: In bytes.

    Returns:
        Pixels, float32 [N, H, W, C], or None if they are too many.
    """
    shape = transform_images(tf.constant(images[:1])).shape[1:]
    if len(images) * math.prod(shape) * 4 > limit:
        return None
    pixels = np.empty([len(images), *shape], np.float32)
    encoded = tf.data.Dataset.from_tensor_slices(tf.constant(images)).batch(_DECODED_AT_ONCE)
    decoded = encoded.map(transform_images, num_parallel_calls=os.cpu_count())
    start = 0
    for part in without_autotune(decoded):
        pixels[start : start + len(part)] = part
        start += len(part)
    return pixels
