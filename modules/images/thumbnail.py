"""Small pictures of encoded images, for people to look at."""

from __future__ import annotations

import io

from PIL import Image

_UNREADABLE = "gainsboro"  # grey: also what surrounds an image that is not square


def thumbnail_of(encoded: bytes, size: int) -> Image.Image:
    """Draws an image into a square, its proportions kept.

    Args:
        encoded: PNG or JPEG.
        size: Height and width of the square, in pixels.

    Returns:
        RGB; all grey where the image cannot be decoded, which is Transform's to report.
    """
    square = Image.new("RGB", (size, size), _UNREADABLE)
    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return square
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
