"""Cuts a box out of an encoded image."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from components.sheet_example_gen.rows import Box

_AS_COLOUR = {"CMYK", "YCbCr", "LAB", "HSV"}  # modes that a PNG cannot have


def crop(image: bytes, box: Box) -> bytes:
    """Cuts a box out, without loss.

    Args:
        image: An encoded image that was found to be good.
        box: In pixels of the upright image, as its EXIF orientation turns it.

    Returns:
        A PNG of the same depth and transparency; of CMYK one in colour.

    Raises:
        ValueError: The box goes beyond the image.
        OSError: Pillow cannot decode the image.
    """
    with Image.open(io.BytesIO(image)) as opened:
        upright = ImageOps.exif_transpose(opened)
        width, height = upright.size
        if box.right > width or box.bottom > height:
            raise ValueError(
                f"the box of columns {box.left} to {box.right} and rows {box.top} to {box.bottom} "
                f"goes beyond the image of {width} × {height} pixels: correct box_x to box_h"
            )
        part = upright.crop(box)
    if part.mode in _AS_COLOUR:
        part = part.convert("RGB")
    result = io.BytesIO()
    part.save(result, "PNG", exif=b"")
    return result.getvalue()
