"""The size of the images that a transform graph gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modules.contract import IMAGE
from modules.settings import ImageSettings, check_settings

if TYPE_CHECKING:
    import tensorflow_transform as tft


def transformed_image(transform: tft.TFTransformOutput) -> ImageSettings:
    """Reads the size from the graph: Transform may have chosen it.

    Args:
        transform: Its feature `image` is float32 [N, height, width, channels].

    Raises:
        ValueError: Channels are neither 1 nor 3.
    """
    shape = transform.transformed_feature_spec()[IMAGE].shape
    sizes = dict(zip(("height", "width", "channels"), shape, strict=True))
    return check_settings(ImageSettings, sizes, "the transform graph's image")
