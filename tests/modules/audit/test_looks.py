"""Looks: the same pixels, however encoded; a hash that hardly changes with size and quality."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from modules.audit import look_at
from modules.audit.hashes import SMALL, differing_bits, hash_pictures
from tests.real_data import digits, png


def encoded(pixels: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pixels() -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(image))) for image, _, _ in digits(2)]


def test_copies_are_told_by_their_pixels_and_by_nothing_else(pixels) -> None:
    one = pixels[0]
    changed = one.copy()
    changed[0, 0] ^= 1
    files = [
        encoded(one, "PNG"),
        encoded(np.stack([one] * 3, axis=2), "BMP"),
        encoded(np.stack([one] * 3, axis=2), "WEBP", lossless=True),
        encoded(changed, "PNG"),
        encoded(one.reshape(14, 56), "PNG"),  # the same values in another shape
    ]
    looks = look_at(files)
    same = (looks.pixels == looks.pixels[0]).all(axis=1)
    assert same.tolist() == [True, True, True, False, False]
    alone = [look_at([file]) for file in files]
    np.testing.assert_array_equal(np.concatenate([one.pixels for one in alone]), looks.pixels)
    np.testing.assert_array_equal(np.concatenate([one.words for one in alone]), looks.words)


def test_size_quality_and_light_change_few_bits_and_another_digit_changes_many(pixels) -> None:
    originals = look_at([png(one) for one in pixels]).words
    changes = [
        lambda one: encoded(one, "JPEG", quality=50),
        lambda one: png(
            np.asarray(Image.fromarray(one).resize((84, 84), Image.Resampling.BICUBIC))
        ),
        lambda one: png(one // 2 + 60),
    ]
    for change in changes:
        assert differing_bits(originals, look_at([change(one) for one in pixels]).words).max() <= 8
    for row in range(len(pixels)):
        others = np.delete(originals, row, axis=0)
        assert differing_bits(others, np.broadcast_to(originals[row], others.shape)).min() > 8


def test_the_hash_is_the_signs_of_the_coarsest_waves_dealt_out_to_words() -> None:
    small = np.random.default_rng(0).uniform(0, 255, (3, 32, 32))
    pictures = np.zeros((3, SMALL, SMALL), np.float32)
    pictures[:, :32, :32] = small
    found, _ = hash_pictures(pictures, np.full((3, 2), 999))
    for picture, words in zip(small, found, strict=True):
        coefficients = dctn(picture, norm="ortho")[:12, :12].ravel()
        bits = coefficients > 1.0
        bits[0] = False
        expected = [sum(int(bits[n]) << (n // 9) for n in range(w, 144, 9)) for w in range(9)]
        assert words.tolist() == expected


def test_blank_and_undecodable_images() -> None:
    nearly = np.full((20, 20), 200, np.uint8)
    nearly[3, 3] = 204
    spotted = nearly.copy()
    spotted[3, 3] = 205
    looks = look_at([png(nearly), b"no image", png(spotted)])
    assert looks.decoded.tolist() == [True, False, True]
    assert (looks.blank[0], looks.blank[2]) == (True, False)
