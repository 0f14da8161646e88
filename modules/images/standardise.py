"""Pixels to mean 0 and variance 1, by statistics of the whole train split."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

_LEAST_VARIANCE = 1e-6  # a constant channel has variance 0; it becomes 0 rather than NaN


def standardise_channels(pixels: tf.Tensor) -> tf.Tensor:
    """Gives every channel mean 0 and variance 1 over the data set that Transform analyses.

    Args:
        pixels: float32 [N, H, W, C], inside of a `preprocessing_fn`.

    Returns:
        float32 [N, H, W, C].
    """
    per_channel = tf.reshape(pixels, [-1, pixels.shape[-1]])
    mean = _rounded(tft.mean(per_channel, reduce_instance_dims=False))
    variance = _rounded(tft.var(per_channel, reduce_instance_dims=False))
    return (pixels - mean) * tf.math.rsqrt(tf.maximum(variance, _LEAST_VARIANCE))


def _rounded(statistic: tf.Tensor) -> tf.Tensor:
    """To five decimals: Beam adds in any order, and the last bits would change every training."""
    return tf.round(statistic * 1e5) / 1e5
