"""Image files of every kind that the pipeline reads, and what a person sees of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

Pixels = np.ndarray


def encoded(image: Image.Image, form: str, orientation: int = 0, **options: object) -> bytes:
    """The file; with the tag orientation if it is not 0."""
    if orientation:
        exif = Image.Exif()
        exif[0x010F] = "a maker"  # the tag is not the first one
        exif[274] = orientation
        options["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def _rgb(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., :3])


def _rgba(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels)


def _grey(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0])


def _16_bits(pixels: Pixels) -> bytes:
    return tf.io.encode_png(tf.constant(pixels.astype(np.uint16) * 256 + 77)).numpy()


def _ycck(pixels: Pixels) -> bytes:
    """A CMYK file whose Adobe marker says YCCK: other colours, the same for every reader."""
    file = encoded(_rgb(pixels).convert("CMYK"), "JPEG", quality=95, subsampling=0)
    at = file.index(b"Adobe") + 11
    return file[:at] + b"\2" + file[at + 1 :]


# By name: RGBA pixels and an orientation (0 for no tag) to a file.
Writer = Callable[[Pixels, int], bytes]
LOSSLESS: dict[str, Writer] = {
    "png grey": lambda p, o: encoded(_grey(p), "PNG", o),
    "png colour": lambda p, o: encoded(_rgb(p), "PNG", o),
    "png alpha": lambda p, o: encoded(_rgba(p), "PNG", o),
    "png grey alpha": lambda p, o: encoded(_rgba(p).convert("LA"), "PNG", o),
    "png 1 bit": lambda p, o: encoded(_grey(p).convert("1"), "PNG", o),
    "png palette": lambda p, o: encoded(_rgb(p).quantize(8), "PNG", o),
    "png palette, one clear": lambda p, o: encoded(_rgb(p).quantize(8), "PNG", o, transparency=0),
    "png palette, 2 bits": lambda p, o: encoded(_rgb(p).quantize(3), "PNG", o, bits=2),
    "png grey, one clear": lambda p, o: encoded(_grey(p), "PNG", o, transparency=int(p[0, 0, 0])),
    "png colour, one clear": lambda p, o: encoded(
        _rgb(p), "PNG", o, transparency=tuple(p[0, 0, :3].tolist())
    ),
    "png with gamma": lambda p, o: with_chunks(
        encoded(_rgb(p), "PNG", o), chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0")
    ),
    "png with large text": lambda p, o: with_chunks(
        encoded(_rgb(p), "PNG", o), chunk(b"tEXt", b"a\0" + b"tRNS eXIf IDAT" * 99_999)
    ),
    "png grey 16": lambda p, _: _16_bits(p[..., :1]),
    "png colour 16": lambda p, _: _16_bits(p[..., :3]),
    "png alpha 16": lambda p, _: _16_bits(p),
    "webp": lambda p, o: encoded(_rgb(p), "WEBP", o, lossless=True),
    "webp alpha": lambda p, o: encoded(_rgba(p), "WEBP", o, lossless=True, exact=True),
    "bmp": lambda p, _: encoded(_rgb(p), "BMP"),
    "bmp alpha": lambda p, _: encoded(_rgba(p), "BMP"),
    "gif": lambda p, _: encoded(_rgb(p).quantize(8), "GIF"),
    "gif moving": lambda p, _: encoded(
        _rgb(p).quantize(8), "GIF", save_all=True, append_images=[_rgb(p[::-1]).quantize(8)]
    ),
}
_GOOD = {"quality": 95, "subsampling": 0}
LOSSY: dict[str, Writer] = {
    "jpeg grey": lambda p, o: encoded(_grey(p), "JPEG", o, **_GOOD),
    "jpeg colour": lambda p, o: encoded(_rgb(p), "JPEG", o, **_GOOD),
    "jpeg progressive": lambda p, o: encoded(_rgb(p), "JPEG", o, progressive=True, **_GOOD),
    "jpeg cmyk": lambda p, o: encoded(_rgb(p).convert("CMYK"), "JPEG", o, **_GOOD),
    "jpeg ycck": lambda p, _: _ycck(p),
}
# What the graph refuses, and ExampleGen converts.
CONVERTED: dict[str, Writer] = {
    "webp moving": lambda p, _: encoded(
        _rgb(p), "WEBP", lossless=True, save_all=True, append_images=[_rgb(255 - p)]
    ),
    "bmp palette": lambda p, _: encoded(_rgb(p).quantize(8), "BMP"),
    "bmp grey": lambda p, _: encoded(_grey(p), "BMP"),
    "bmp 1 bit": lambda p, _: encoded(_grey(p).convert("1"), "BMP"),
    "gif clear": lambda p, _: encoded(_rgb(p).quantize(8), "GIF", transparency=0),
}
# What the graph does not know at all, and ExampleGen converts.
PORTABLE: dict[str, Writer] = {
    "pgm": lambda p, _: encoded(_grey(p), "PPM"),
    "pgm 16 bits": lambda p, _: b"P5 7 9 65535\n" + (p[..., 0].astype(">u2") * 256 + 77).tobytes(),
    "ppm": lambda p, _: encoded(_rgb(p), "PPM"),
}


def seen(file: bytes, background: tuple[int, int, int], channels: int) -> Pixels:
    """What a person sees, by Pillow: upright, on a background; uint8 [h, w, channels]."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        sheet = Image.new("RGB", image.size, background)
        sheet.paste(image, mask=image.getchannel("A"))
        image = sheet
    image = image.convert("RGB")
    return np.asarray(image if channels == 3 else image.convert("L")).reshape(
        *image.size[::-1], channels
    )
