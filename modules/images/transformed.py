"""What the images are that a transform graph gives: their size, and how they are brought to it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from modules.contract import IMAGE
from modules.settings import ImageSettings, check_settings
from modules.storage import read_text, write_file

if TYPE_CHECKING:
    import tensorflow_transform as tft

# Beside the graph, which has a size but no word of how it came about.
IMAGE_FILE = "image.json"


def note_image(folder: str, image: ImageSettings) -> None:
    """Writes beside a transform graph what it makes of images, for `transformed_image`.

    Args:
        folder: Of the graph, as `tft.TFTransformOutput` takes it.
        image: What the graph was built with.
    """
    write_file(f"{folder}/{IMAGE_FILE}", json.dumps(image.model_dump(mode="json")).encode())


def transformed_image(transform: tft.TFTransformOutput) -> ImageSettings:
    """Reads the size from the graph, since Transform may have chosen it, and the rest beside it.

    Args:
        transform: Its feature `image` is float32 [N, height, width, channels].

    Returns:
        What the graph was built with. Of a graph that our Transform has not made, only the size is
        known; the rest are defaults.

    Raises:
        ValueError: Channels are neither 1 nor 3.
    """
    shape = transform.transformed_feature_spec()[IMAGE].shape
    sizes = dict(zip(("height", "width", "channels"), shape, strict=True))
    folder = os.path.dirname(transform.transform_savedmodel_dir)  # noqa: PTH120
    try:
        noted = json.loads(read_text(f"{folder}/{IMAGE_FILE}"))
    except FileNotFoundError:
        noted = {}
    return check_settings(ImageSettings, noted | sizes, "the transform graph's image")
