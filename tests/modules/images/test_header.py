"""Files that declare more pixels than allowed are refused by their header, whatever their kind."""

from __future__ import annotations

import functools
import io
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings as hypothesis_settings, strategies as st
from PIL import Image

from modules.images import TOO_LARGE, decode_images, decode_pixels
from modules.images.gif import find_first_frame
from modules.images.kinds import ANY, are_plain_png
from modules.images.orientation import FileBytes
from modules.settings import ImageSettings
from tests.modules.images.image_files import LOSSLESS, LOSSY, chunk, encoded

KINDS = LOSSLESS | LOSSY
SIDE = 30_000


@functools.cache
def decoder(most_pixels: int | None = None):
    limit = {} if most_pixels is None else {"max_pixels": most_pixels}
    settings = ImageSettings(height=12, width=12, channels=3, fit="squash", **limit)
    return tf.function(
        lambda files: decode_images(files, settings),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


@hypothesis_settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), height=st.integers(1, 12), width=st.integers(1, 12))
@example(kind="png colour", height=5, width=8)
@example(kind="jpeg colour", height=8, width=5)
@example(kind="webp", height=4, width=10)
@example(kind="webp alpha", height=10, width=4)
def test_as_many_as_allowed_and_not_one_more(kind: str, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    files = tf.constant([KINDS[kind](pixels, 0)])
    if height * width <= 40:
        assert decoder(40)(files).shape == (1, 12, 12, 3)
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match=TOO_LARGE):
            decoder(40)(files)


def a_bomb(kind: str) -> bytes:
    """A file of few bytes whose header says 30,000 × 30,000, 2.7 GB of pixels."""
    small = Image.new("RGB", (8, 8), "red")
    if kind == "png, all of it":
        header = struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0)
        lines = zlib.compress(b"\0" * (SIDE * (1 + SIDE // 8)))
        start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        return start + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    form, at, pattern = {
        "png": ("PNG", 16, ">II"),
        "jpeg": ("JPEG", None, ">HH"),
        "bmp": ("BMP", 18, "<ii"),
        "bmp, rows downwards": ("BMP", 18, "<ii"),
        "gif": ("GIF", 6, "<HH"),
    }[kind]
    file = bytearray(encoded(small.convert("P") if form == "GIF" else small, form))
    at = file.index(b"\xff\xc0") + 5 if at is None else at
    height = -SIDE if "downwards" in kind else SIDE
    file[at : at + struct.calcsize(pattern)] = struct.pack(pattern, SIDE, height)
    return bytes(file)


@pytest.mark.parametrize(
    "kind", ["png, all of it", "png", "jpeg", "bmp", "bmp, rows downwards", "gif"]
)
def test_a_bomb_is_refused_with_its_size_and_a_remedy(kind: str) -> None:
    good = encoded(Image.new("RGB", (8, 8)), "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match=TOO_LARGE) as error:
        decoder()(tf.constant([good, a_bomb(kind)]))
    said = str(error.value)
    assert "more than 50,000,000" in said
    assert said.count(f"[{SIDE}]") == 2
    assert "max_pixels" in said


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    most=st.integers(1, 2**34),
    width=st.integers(1, 2**32 - 1),
    height=st.integers(1, 2**32 - 1),
)
@example(most=50_000_000, width=6911, height=6911)
@example(most=65_535, width=255, height=255)
@example(most=1, width=1, height=1)
def test_a_plain_png_is_never_larger_than_allowed(most: int, width: int, height: int) -> None:
    """By the first bytes alone, so some that are small enough get a closer look too."""
    for across, down in ((width, height), (min(width, height),) * 2):
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", across, down)
        head = tf.constant([header + b"\x08\2\0\0\0" + b"CRC.\0\0\0\1IDAT"])
        assert are_plain_png(head, ANY)
        if are_plain_png(head, ANY, most):
            assert across * down <= most


@pytest.mark.parametrize("side", [28, 600])
def test_usual_images_stay_plain(side: int) -> None:
    assert are_plain_png(tf.constant([encoded(Image.new("RGB", (side, side)), "PNG")]), ANY, 10**6)


@pytest.mark.parametrize("size", [(5, 3), (70, 60)])
def test_only_the_first_frame_of_a_gif_is_unpacked(size: tuple[int, int]) -> None:
    """Frames of any size may stand behind it; the long one has many blocks."""
    draws = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    frames = [Image.fromarray(frame).quantize(64) for frame in draws]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], comment=b"!,;")
    file = buffer.getvalue()
    opaque, end = find_first_frame(FileBytes.of(tf.constant(file)))
    assert opaque
    first = Image.open(io.BytesIO(file[: int(end)] + b";"))
    assert first.n_frames == 1
    assert file[int(end)] in b"!,"  # the next one begins
    seen = np.asarray(first.convert("RGB"))
    np.testing.assert_array_equal(seen, Image.open(io.BytesIO(file)).convert("RGB"))
    np.testing.assert_array_equal(decode_pixels(tf.constant(file)), seen)
    # A second frame that declares 65,535 × 65,535 is never looked at.
    at = re.compile(rb",\0\0\0\0" + struct.pack("<HH", *size[::-1])).search(file, int(end)).start()
    bomb = file[: at + 5] + b"\xff" * 4 + file[at + 9 :]
    np.testing.assert_array_equal(decode_pixels(tf.constant(bomb)), seen)
