"""The range of pixels that a network is built for."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from modules.images import PixelRange, find_pixel_range
from modules.settings import ImageSettings, ModelSettings


def find_input_range(
    transform: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    image: ImageSettings,
    model: ModelSettings,
) -> PixelRange | None:
    """Finds what the transform graph makes of black and white.

    Args:
        transform: As `find_pixel_range` takes it.
        image: The size of the images.
        model: Whether there are pre-trained weights, which have to know it.

    Returns:
        The range; None where the transform has none and the network need not know it.

    Raises:
        ValueError: Pre-trained weights need the range and the transform is not linear.
    """
    try:
        return find_pixel_range(transform, image)
    except ValueError:
        if model.weights != "none":
            raise
        return None
