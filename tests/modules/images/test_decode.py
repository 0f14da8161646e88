"""What is decoded is what a person sees, for every kind of file; Pillow is the oracle."""

from __future__ import annotations

import functools
import io
import struct
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings as hypothesis_settings, strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from modules.images import REFUSED, decode_images, decode_pixels, decode_to_array, resize_pixels
from modules.settings import Fit, ImageSettings
from tests.modules.images.image_files import (
    CONVERTED,
    LOSSLESS,
    LOSSY,
    chunk,
    encoded,
    seen,
    with_chunks,
)
from tests.real_data import digits

PINK = (250, 20, 120)
PIXELS = arrays(np.uint8, st.tuples(*[st.integers(1, 12)] * 2, st.just(4)))
ORIENTATIONS = st.integers(0, 9)  # 9 is none, and 0 no tag


@functools.cache
def decoder(channels: int):
    return tf.function(
        lambda file: decode_pixels(file, channels, PINK),
        input_signature=[tf.TensorSpec([], tf.string)],
    )


@functools.cache
def batch_decoder(height: int, width: int, channels: int, background: str = "#fa1478"):
    settings = ImageSettings(height=height, width=width, channels=channels, background=background)
    return tf.function(
        lambda files: decode_images(files, settings),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


def levels(found: np.ndarray) -> np.ndarray:
    """From 0…1 to 0…255; TensorFlow's division by 255 is a product with 1/255."""
    return np.rint(found * np.float32(255))


@pytest.mark.parametrize("kind", LOSSLESS)
@hypothesis_settings(max_examples=12, deadline=None)
@given(pixels=PIXELS, orientation=ORIENTATIONS)
def test_lossless_files_are_decoded_exactly(kind, pixels, orientation) -> None:
    file = LOSSLESS[kind](pixels, orientation)
    for channels in (1, 3):
        found = decoder(channels)(file).numpy()
        np.testing.assert_array_equal(found, seen(file, PINK, channels))


@pytest.mark.parametrize("kind", LOSSY)
@hypothesis_settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 99), orientation=ORIENTATIONS)
def test_jpegs_are_decoded_but_for_their_rounding(kind, seed, orientation) -> None:
    draws = np.random.default_rng(seed).integers(0, 256, (3, 2, 4), np.uint8)
    file = LOSSY[kind](draws.repeat(8, 0).repeat(8, 1), orientation)
    for channels in (1, 3):
        found = decoder(channels)(file).numpy().astype(int)
        expected = seen(file, PINK, channels)
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_decoded_as_its_images_are(channels) -> None:
    """Alone, in a batch of one kind, and mixed: the same bits."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    files = [
        write(pixels, orientation)
        for write in (LOSSLESS | LOSSY).values()
        for orientation in (0, 3)
    ]
    run = batch_decoder(9, 7, channels)
    mixed = run(tf.constant(files)).numpy()
    alone = [run(tf.constant([file])).numpy()[0] for file in files]
    decoded = [decoder(channels)(file).numpy() for file in files]
    np.testing.assert_array_equal(mixed, alone)
    np.testing.assert_array_equal(levels(mixed), decoded)
    twice = [run(tf.constant([file, file])).numpy()[1] for file in files]
    np.testing.assert_array_equal(mixed, twice)


def test_digits_are_as_ever_and_an_empty_batch_is_none() -> None:
    rows = digits(1)
    files = [image for image, _, _ in rows]
    expected = [np.asarray(Image.open(io.BytesIO(file)))[..., None] for file in files]
    found = batch_decoder(28, 28, 1)(tf.constant(files)).numpy()
    np.testing.assert_array_equal(levels(found), expected)
    assert batch_decoder(28, 28, 1)(tf.constant([], tf.string)).shape == (0, 28, 28, 1)


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("orientation", [0, 6])
def test_a_large_jpeg_is_made_smaller_while_it_is_decoded(orientation, fit) -> None:
    """Near enough to resizing all of it: by a level or two of a smooth picture.

    The edges of a crop are rounded to pixels, which are larger then.
    """
    y, x = np.mgrid[:320, :480]
    picture = np.stack([128 + 100 * np.sin(x / 37), 128 + 100 * np.cos(y / 41), x / 2], -1)
    file = encoded(Image.fromarray(picture.astype(np.uint8)), "JPEG", orientation, quality=95)
    settings = ImageSettings(height=30, width=40, channels=3, fit=fit)
    found = decode_images(tf.constant([file]), settings).numpy()[0] * 255
    whole = resize_pixels(decoder(3)(file), settings).numpy()
    assert np.abs(found - whole).mean() < (3 if fit == "crop" else 2)
    assert np.abs(found - whole).max() < 16


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_the_graph_cannot_decode_is_refused_with_a_remedy(kind) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    file = CONVERTED[kind](pixels, 0)
    for run in (decoder(1), lambda file: batch_decoder(9, 7, 3)(tf.constant([file]))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=REFUSED) as error:
            run(file)
        assert "Convert it to PNG" in str(error.value)
    assert decode_to_array(file) is None


@pytest.mark.parametrize("file", [b"", b"no image", b"\xff\xd8\xff", b"II*\0" + b"\0" * 99])
def test_what_is_no_image_is_an_error(file) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoder(3)(file)


def tiff(*, little: bool = True, kind: int = 3, value: int = 6, count: int = 1) -> bytes:
    order = "<" if little else ">"
    head = b"II*\0" if little else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 274, kind, 1, value, 0)
    return head + struct.pack(f"{order}IH", 8, count) + entry


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (tiff(), True),
        (tiff(little=False), True),
        (tiff(value=9), False),
        (tiff(kind=2), False),  # a text
        (tiff(count=60_000), True),  # fewer are there
        (tiff()[:-6], False),  # cut off
        (b"II*\0\xff\xff\xff\xff", False),  # a directory far outside of the file
        (b"", False),
        (b"Exif\0\0", False),
    ],
)
def test_exif_data_of_any_form_turn_or_do_not(exif, turned) -> None:
    picture = Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5) * 17)
    png = encoded(picture, "PNG")
    jpeg = encoded(picture, "JPEG")
    segment = b"Exif\0\0" + exif
    files = (
        with_chunks(png, chunk(b"eXIf", exif)),
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:],
    )
    for file in files:
        shape = (5, 3, 1) if turned else (3, 5, 1)
        assert decoder(1)(file).shape == shape


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["png alpha", "webp alpha", "gif", "bmp", "jpeg colour"]),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 60),
)
def test_damaged_files_never_hang_or_crash(kind, edits, cut) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    file = bytearray((LOSSLESS | LOSSY)[kind](pixels, 6 if kind != "bmp" else 0))
    for at, value in edits:
        file[at % len(file)] = value
    damaged = bytes(file[: len(file) - cut])
    if struct.unpack(">I", (damaged + b"\0" * 32)[16:20])[0] > 2**16:
        return  # a PNG that declares more than anybody's memory
    found = decode_to_array(damaged)
    assert found is None or found.ndim == 3
