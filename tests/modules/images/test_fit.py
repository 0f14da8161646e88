"""Images of any form, brought to one size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from modules.images import decode_images
from modules.images.fit import resize_pixels
from modules.settings import Fit, ImageSettings
from tests.real_data import digits

FITS: list[Fit] = ["squash", "letterbox", "crop"]
WHITE = 255.0
CHINA, FLOWER = (photo.astype(np.uint8) for photo in load_sample_images().images)


def fitted(pixels: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    image = ImageSettings(height=size[0], width=size[1], channels=pixels.shape[2], fit=fit)
    return resize_pixels(tf.constant(pixels), image).numpy()


def scaled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """By Pillow: a triangle over the pixels that one pixel covers, channel by channel."""
    channels = [
        Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.BILINEAR)
        for channel in np.moveaxis(pixels, 2, 0)
    ]
    return np.stack([np.array(channel) for channel in channels], axis=2)


def oracle(pixels: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """The three definitions, pixel by pixel."""
    (h, w), (height, width) = pixels.shape[:2], size
    if fit == "squash":
        return scaled(pixels, height, width)
    if fit == "letterbox":
        scale = min(height / h, width / w)
        inner = [min(max(1, round(side * scale)), most) for side, most in ((h, height), (w, width))]
        picture = scaled(pixels, *inner)
        canvas = np.full([height, width, pixels.shape[2]], WHITE, np.float32)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        for y in range(inner[0]):
            for x in range(inner[1]):
                canvas[top + y, left + x] = picture[y, x]
        return canvas
    scale = min(h / height, w / width)
    kept = [min(max(1, round(side * scale)), most) for side, most in ((height, h), (width, w))]
    top, left = (h - kept[0]) // 2, (w - kept[1]) // 2
    return scaled(pixels[top : top + kept[0], left : left + kept[1]], height, width)


@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    fit=st.sampled_from(FITS),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_against_the_definitions(sides, size, fit, seed) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, [*sides, 3], np.uint8)
    np.testing.assert_allclose(fitted(pixels, size, fit), oracle(pixels, size, fit), atol=0.01)


@pytest.mark.parametrize("fit", FITS)
def test_photographs_against_the_definitions(fit) -> None:
    """640 × 427 pixels, and the same turned by a quarter."""
    for photo in (CHINA, FLOWER.transpose(1, 0, 2)):
        found = fitted(photo, (96, 128), fit)
        np.testing.assert_allclose(found, oracle(photo, (96, 128), fit), atol=0.01)


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_the_size_is_not_touched(fit) -> None:
    np.testing.assert_array_equal(fitted(CHINA, CHINA.shape[:2], fit), CHINA)


@given(
    form=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    before=st.integers(1, 9),
    after=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_images_of_the_form_are_the_same_with_each(form, before, after, seed) -> None:
    """To the last bit, so square data is what it was when everything was squashed."""
    sides, size = ([factor * side for side in form] for factor in (before, after))
    pixels = np.random.default_rng(seed).integers(0, 256, [*sides, 1], np.uint8)
    squashed = tf.image.resize(pixels, size, antialias=True).numpy()
    if before == after:
        squashed = pixels
    for fit in FITS:
        np.testing.assert_array_equal(fitted(pixels, tuple(size), fit), squashed)


def test_digits_are_what_they_were() -> None:
    encoded = tf.constant([image for image, _, _ in digits(2)])
    for side in (28, 20, 40):
        found = [
            decode_images(encoded, ImageSettings(height=side, width=side, fit=fit)).numpy()
            for fit in FITS
        ]
        assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


@pytest.mark.parametrize(
    ("channels", "colour", "expected"),
    [(3, "#102030", (16, 32, 48)), (1, "black", 0), (1, "lime", 150), (1, "white", 255)],
)
def test_bars_have_the_background_colour(channels, colour, expected) -> None:
    """Lime is pure green: 0.587 · 255 = 149.7 of grey."""
    image = ImageSettings(height=8, width=20, channels=channels, background=colour)
    found = resize_pixels(tf.fill([9, 3, channels], tf.constant(7, tf.uint8)), image).numpy()
    bars = (found == expected).all(axis=(0, 2))
    np.testing.assert_array_equal(bars, [*[True] * 8, *[False] * 3, *[True] * 9])


@pytest.mark.parametrize("turned", [False, True])
def test_a_circle_stays_round_unless_it_is_squashed(turned) -> None:
    y, x = np.mgrid[:120, :240]
    disc = (255 * (np.hypot(y - 59.5, x - 119.5) > 40)).astype(np.uint8)[..., None]
    if turned:
        disc = disc.transpose(1, 0, 2)
    radii = {}
    for fit in FITS:
        dark = 255 - fitted(disc, (60, 60), fit)[..., 0]
        # Of a disc of radius r about the middle, mean of y² and of x² is r² / 4.
        places = np.mgrid[:60, :60] - 29.5
        radii[fit] = [2 * math.sqrt((dark * place**2).sum() / dark.sum()) for place in places]
    assert radii["letterbox"] == pytest.approx([10, 10], rel=0.02)
    assert radii["crop"] == pytest.approx([20, 20], rel=0.02)
    assert sorted(radii["squash"]) == pytest.approx([10, 20], rel=0.02)
