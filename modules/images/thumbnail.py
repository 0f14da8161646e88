"""Small pictures of encoded images, for people to look at."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from modules.images.decode import decode_to_array

THUMBNAIL_PIXELS = 96
_QUALITY = 80
_UNREADABLE = "gainsboro"  # grey: also what surrounds an image that is not square


def thumbnail_of(encoded: bytes, size: int, background: str = "white") -> Image.Image:
    """Draws an image, as the network sees it, into a square; its proportions are kept.

    Args:
        encoded: A file that `decode_images` takes.
        size: Height and width of the square, in pixels.
        background: The colour behind what is transparent in the image, as in `[image]`.

    Returns:
        RGB; all grey where the image cannot be decoded, which is ExampleGen's to report.
    """
    square = Image.new("RGB", (size, size), _UNREADABLE)
    pixels = decode_to_array(encoded, background)
    if pixels is None:
        return square
    image = Image.fromarray(pixels)
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    square.paste(
        image.resize((width, height), resample), ((size - width) // 2, (size - height) // 2)
    )
    return square


def png_of(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def small_jpeg(encoded: bytes, background: str = "white", most: int = THUMBNAIL_PIXELS) -> bytes:
    """Makes a small picture of an image: smaller ones keep their size, proportions are kept.

    Args:
        encoded: A file that `decode_images` takes.
        background: As for `thumbnail_of`.
        most: Height and width at most, in pixels.

    Returns:
        A JPEG file; one grey pixel where the image cannot be decoded.
    """
    return _saved(_small(encoded, background, most), "JPEG", _QUALITY)


def small_webp(encoded: bytes, most: int, quality: int, background: str = "white") -> bytes:
    """The same as a WebP file, which takes about half the bytes, for pages of many pictures.

    Args:
        encoded: As for `small_jpeg`.
        most: As there.
        quality: 1 to 100.
        background: As there.
    """
    return _saved(_small(encoded, background, most), "WEBP", quality)


def _small(encoded: bytes, background: str, most: int) -> Image.Image:
    image = _plain(encoded, most)
    if image is None:
        pixels = decode_to_array(encoded, background)
        image = Image.new("RGB", (1, 1), _UNREADABLE) if pixels is None else Image.fromarray(pixels)
    image.thumbnail((most, most), Image.Resampling.BOX)
    return image


def _saved(image: Image.Image, form: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return buffer.getvalue()


def _plain(encoded: bytes, most: int) -> Image.Image | None:
    """Grey or colours with nothing to interpret, read in a tenth of the time; None for the rest.

    What is left to the decoder of the network: transparency, palettes, CMYK, 16 bits.
    """
    try:
        image = Image.open(io.BytesIO(encoded))
        if image.mode not in ("L", "RGB") or "transparency" in image.info:
            return None
        image.draft(None, (2 * most, 2 * most))  # of a JPEG no more is decoded than is needed
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
