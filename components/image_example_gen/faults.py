"""Why an image cannot be used, and the images that become PNG files so that it can."""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from modules.images import REFUSED, compiled_decoder

_PNG = b"\x89PNG\r\n\x1a\n"
# Binary PGM and PPM, as old sets of faces have them; no graph decodes these.
_PORTABLE = re.compile(rb"P[56]\s")
_WHITE = (255, 255, 255)


class Checked(NamedTuple):
    """What came of an image: it as it is, or as a PNG, or none and why."""

    image: bytes | None
    fault: str | None = None
    converted: bool = False


def check_image(image: bytes, max_pixels: int) -> Checked:
    """Decodes an image once, as every later node and the served model will.

    What the served graph cannot decode (PGM and PPM, an animated WebP, a BMP with a palette, a GIF
    with transparency) becomes a PNG of what a person sees of it, its first frame, without loss. So
    does a PNG whose EXIF data follow its pixels.

    Args:
        image: The content of the file.
        max_pixels: Largest width × height; checked in the header, before anything is decoded.

    Returns:
        The image to go on with, or the reason why there is none.
    """
    if fault := header_fault(image, max_pixels):
        return Checked(None, fault)
    if turns_late(image) or _PORTABLE.match(image):
        return _converted(image)
    fault = _decoding_fault(image)
    if fault and REFUSED in fault:
        return _converted(image)
    return Checked(None, fault) if fault else Checked(image)


def header_fault(image: bytes, max_pixels: int) -> str | None:
    """What is wrong with an image by its header alone, before anything is decoded.

    Args:
        image: The content of the file.
        max_pixels: Largest width × height.

    Returns:
        The reason why it cannot be used; None if the header is good.
    """
    if not image:
        return "the file is empty"
    read_size = _kind(image)
    if read_size is None:
        return "neither JPEG, PNG, WebP, BMP, GIF, PGM nor PPM by its first bytes"
    try:
        width, height = read_size(image)
    except Exception as error:
        return f"broken header ({error})"
    if width * height > max_pixels:
        return f"declares {width} × {height} pixels, more than {max_pixels:,}"
    return None


def _decoding_fault(image: bytes) -> str | None:
    try:
        compiled_decoder(_WHITE)(image)
    except tf.errors.OpError as error:
        # Before the last line of a graph's message is the way to the operation, behind it its name.
        said = error.message.partition("\n\t [[")[0].strip().splitlines() or ["no reason given"]
        return re.sub(r"^{{.*?}} | \[Op:.*", "", said[-1])
    return None


def _converted(image: bytes) -> Checked:
    """What a person sees of it, as PNG."""
    try:
        # The formats that were checked, none of the many others; the size was checked too.
        with Image.open(io.BytesIO(image), formats=["WEBP", "BMP", "GIF", "PNG", "PPM"]) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            mode = "RGBA" if upright.has_transparency_data else "RGB"
            if upright.mode in ("1", "L", "I;16"):
                mode = upright.mode
            elif upright.mode == "I":  # a PGM of 16 bits
                mode = "I;16"
            buffer = io.BytesIO()
            plain = upright.convert(mode)
            plain.info = {}
            plain.save(buffer, "PNG")
    except Exception as error:
        return Checked(None, f"cannot be converted to PNG ({error})")
    return Checked(buffer.getvalue(), converted=True)


def _kind(image: bytes) -> Callable[[bytes], tuple[int, int]] | None:
    """The function that reads width and height in the header of such a file."""
    if image.startswith(_PNG):
        return _png_size
    for start, plugin in (
        (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
        (b"BM", BmpImagePlugin.BmpImageFile),
        (b"GIF87a", GifImagePlugin.GifImageFile),
        (b"GIF89a", GifImagePlugin.GifImageFile),
    ):
        if image.startswith(start):
            return functools.partial(_size_by_pillow, plugin)
    if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        return functools.partial(_size_by_pillow, WebPImagePlugin.WebPImageFile)
    if _PORTABLE.match(image):
        return functools.partial(_size_by_pillow, PpmImagePlugin.PpmImageFile)
    return None


def _size_by_pillow(plugin: type[ImageFile.ImageFile], image: bytes) -> tuple[int, int]:
    # The plugin itself, as PIL.Image.open adds a size limit of its own to the header.
    return plugin(io.BytesIO(image)).size


def _png_size(image: bytes) -> tuple[int, int]:
    """Not by Pillow, which takes no file with large texts or profiles."""
    if image[12:16] != b"IHDR" or len(image) < 24:
        raise ValueError("there is no IHDR")
    width, height = struct.unpack(">II", image[16:24])
    return width, height


def turns_late(image: bytes) -> bool:
    """Whether a PNG has its eXIf behind the pixels, where the graph does not look for it."""
    if not image.startswith(_PNG) or b"eXIf" not in image:
        return False
    at, seen_pixels = len(_PNG), False
    while at + 8 <= len(image):
        length, kind = struct.unpack(">I4s", image[at : at + 8])
        if kind == b"eXIf":
            return seen_pixels
        seen_pixels |= kind == b"IDAT"
        at += 12 + length
    return False
