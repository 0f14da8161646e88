"""The graph of TFX Transform: encoded images to standardised pixels.

Training, evaluation and serving use the same graph, so they cannot differ. Nothing is materialised:
decoded floats take many times the bytes of the encoded images.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from modules.contract import IMAGE
from modules.images import decode_images, standardise_channels
from modules.settings import ImageSettings, read_table


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Builds the transform graph (called by TFX Transform).

    Args:
        inputs: Features of the contract; `image` is a string tensor [N, 1].
        custom_config: `{"image": {...}}`, see `ImageSettings`.

    Returns:
        `image`: float32 [N, height, width, channels]; each channel has mean 0 and variance 1 over
        the train split (full-pass analysis).

    Raises:
        ValueError: `custom_config` has no table `image`, or a wrong one.
    """
    settings = read_table(custom_config, "image", ImageSettings)
    pixels = decode_images(tf.reshape(inputs[IMAGE], [-1]), settings)
    return {IMAGE: standardise_channels(pixels)}
