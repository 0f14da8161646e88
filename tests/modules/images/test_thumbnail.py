"""Thumbnails keep proportions, and what cannot be decoded is grey."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from modules.images import png_of, thumbnail_of

GREY = (220, 220, 220)


def encoded(width: int, height: int, colour: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    return png_of(Image.new("RGB", (width, height), colour))


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (8, 8, (0, 0, 16, 16)),  # enlarged
        (64, 64, (0, 0, 16, 16)),  # made smaller
        (64, 32, (0, 4, 16, 12)),  # bars above and below
        (4, 8, (4, 0, 12, 16)),  # bars at the sides
        (1000, 1, (0, 7, 16, 8)),  # at least one pixel
    ],
)
def test_the_image_fills_its_box(width, height, box) -> None:
    pixels = np.asarray(thumbnail_of(encoded(width, height), 16))
    left, top, right, bottom = box
    inside = np.zeros((16, 16), bool)
    inside[top:bottom, left:right] = True
    assert (pixels[inside] == (255, 0, 0)).all()
    assert (pixels[~inside] == GREY).all()


@pytest.mark.parametrize("broken", [b"", b"no image", encoded(64, 64)[:50]])
def test_what_cannot_be_decoded_is_grey(broken) -> None:
    pixels = np.asarray(thumbnail_of(broken, 8))
    assert pixels.shape == (8, 8, 3)
    assert (pixels == GREY).all()


def test_png() -> None:
    image = Image.open(io.BytesIO(encoded(3, 2)))
    assert (image.format, image.size) == ("PNG", (3, 2))
