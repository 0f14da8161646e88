"""Small pictures of encoded images, for people to look at."""

from __future__ import annotations

import io

from PIL import Image

from modules.images.decode import decode_to_array

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
