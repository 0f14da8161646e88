"""Thumbnails keep proportions, and what cannot be decoded is grey."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from modules.images import decode_to_array, png_of, small_jpeg, thumbnail_of

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


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(
    ("size", "small"),
    [((28, 28), (28, 28)), ((960, 480), (96, 48)), ((10, 960), (1, 96)), ((97, 5), (96, 5))],
)
def test_small_pictures_keep_their_proportions_and_are_never_enlarged(size, small) -> None:
    image = opened(small_jpeg(encoded(*size)))
    assert image.size == small
    np.testing.assert_allclose(np.asarray(image)[0, 0], (255, 0, 0), atol=8)


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_small_pictures_show_what_the_network_sees() -> None:
    """Turned upright, on the background, of every mode: as the decoder of all nodes does it."""
    halves = np.zeros((40, 20, 3), np.uint8)
    halves[:20] = (255, 0, 0)
    photo = Image.fromarray(halves)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    alpha = photo.convert("RGBA")
    upper = np.zeros((40, 20), np.uint8)
    upper[:20] = 255
    alpha.putalpha(Image.fromarray(upper))
    files = [
        file_of(photo, "JPEG"), file_of(photo.convert("L"), "PNG"), file_of(photo, "WEBP"),
        file_of(photo, "JPEG", exif=exif), file_of(alpha, "PNG"),
        file_of(photo.convert("P"), "PNG"), file_of(photo.convert("CMYK"), "JPEG"),
        file_of(Image.fromarray(halves[..., 0].astype(np.uint16) * 257), "PNG"),
    ]  # fmt: skip
    for number, file in enumerate(files):
        expected = decode_to_array(file, "lime")
        assert expected is not None
        found = np.asarray(opened(small_jpeg(file, "lime")).convert("RGB"))
        assert found.shape == expected.shape, number
        # JPEG blurs the edge between the halves.
        assert np.median(np.abs(found.astype(int) - expected)) <= 6, number


@pytest.mark.parametrize("broken", [b"", b"no image", encoded(64, 64)[:50]])
def test_a_small_picture_of_what_cannot_be_decoded_is_a_grey_pixel(broken) -> None:
    image = opened(small_jpeg(broken))
    assert image.size == (1, 1)
    np.testing.assert_allclose(np.asarray(image)[0, 0], GREY, atol=3)
