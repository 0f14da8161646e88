"""What the transform graph makes of a pixel, so that it can be undone or repeated elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import IMAGE
from modules.settings import ImageSettings

# Mean and standard deviation of ImageNet's pixels in 0…1 (red, green, blue).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class PixelRange(NamedTuple):
    """The transformed values of the darkest and the brightest pixel, one per channel.

    In between the transform is linear: v = black + (white − black) · p / 255 for a pixel p.
    """

    black: tuple[float, ...]
    white: tuple[float, ...]

    @classmethod
    def of_imagenet(cls, channels: int) -> PixelRange:
        """The range after standardising with ImageNet's statistics (their mean for one channel)."""
        mean, deviation = np.array(IMAGENET_MEAN), np.array(IMAGENET_DEVIATION)
        if channels == 1:
            mean, deviation = mean.mean(keepdims=True), deviation.mean(keepdims=True)
        black, white = -mean / deviation, (1 - mean) / deviation
        return cls(tuple(black.tolist()), tuple(white.tolist()))


def find_pixel_range(
    transform: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]], image: ImageSettings
) -> PixelRange:
    """Finds the range by sending a black, a grey and a white image through the transform graph.

    Args:
        transform: As `TFTransformOutput.transform_features_layer()` gives it: `image`, string
            [N, 1], encoded, to `image`, float32 [N, H, W, C].
        image: The size of the images.

    Returns:
        The transformed values of 0 and 255 for each channel.

    Raises:
        ValueError: The transform is not a linear map of each channel, so there is no such range.
    """
    grey_levels = (0, 255, 51)
    shape = (image.height, image.width, image.channels)
    encoded = [tf.io.encode_png(np.full(shape, level, np.uint8)) for level in grey_levels]
    pixels = transform({IMAGE: tf.stack(encoded)[:, tf.newaxis]})[IMAGE].numpy()
    black, white, grey = pixels[:, 0, 0]
    linear = black + (white - black) * (51 / 255)
    scale = np.abs(white - black).max()
    if np.any(white == black) or not np.allclose(
        pixels, np.stack([black, white, linear])[:, None, None], rtol=0, atol=1e-4 * scale
    ):
        raise ValueError(
            "The transform graph does not map every channel linearly (a pixel of 0 becomes "
            f"{black.tolist()}, 51 {grey.tolist()}, 255 {white.tolist()}), so its input cannot be "
            "recovered for pre-trained weights. Use the preprocessing of modules/preprocessing.py "
            "or model.weights = 'none'."
        )
    return PixelRange(tuple(black.tolist()), tuple(white.tolist()))
