"""Labelled images in memory: as arrays, and encoded as a file holds them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class EncodedImage(NamedTuple):
    """One image with what the data contract asks for, see `modules.contract`.

    Attributes:
        image: The bytes of a PNG or JPEG file.
        label: The name of the class.
        id: Stable and unique.
    """

    image: bytes
    label: str
    id: str


@dataclass(frozen=True)
class LabelledImages:
    """One split in memory.

    Attributes:
        images: uint8 [n, height, width], grayscale.
        labels: The n class names.
        ids: The n ids.
    """

    images: npt.NDArray[np.uint8]
    labels: list[str]
    ids: list[str]

    def encoded(self) -> Iterator[EncodedImage]:
        """Yields each image as PNG, with its label and id."""
        for image, label, example_id in zip(self.images, self.labels, self.ids, strict=True):
            yield EncodedImage(encode_png(image), label, example_id)


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Encodes one grayscale image, uint8 [height, width], as PNG; every pixel is kept."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
