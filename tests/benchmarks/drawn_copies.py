"""Copies of pictures, drawn from a seed: the same picture cut, turned, compressed, in other light.

>>> from tests.benchmarks.drawn_copies import drawn_copies
>>> len(drawn_copies(pictures=3, copies=2, seed=0))
6
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageEnhance

from tests.benchmarks.drawn_classes import labelled
from tests.benchmarks.drawn_objects import drawn_products
from tests.real_data import Row

CROP = (0.6, 1.0)  # of the area
STRETCH = (0.9, 1.1)
TURN = 8.0  # degrees, standard deviation
LIGHT = (0.6, 1.4)  # factor of brightness, and of contrast
QUALITY = (15, 90)  # of JPEG
SIDES = (40, 128)  # before it is brought to its size


def drawn_copies(pictures: int, copies: int, seed: int, *, size: int = 64) -> list[Row]:
    """Draws pictures of things, two of each brand, and several versions of each.

    Args:
        pictures: How many, the classes.
        copies: Versions of each.
        seed: Of everything; the same arguments give the same bytes.
        size: Height and width in pixels.

    Returns:
        (colour PNG, label, id) of each version, picture by picture.
    """
    rng = np.random.default_rng(seed)
    rows = []
    drawn = drawn_products(pictures, 1, seed, size=2 * size)
    for number, (encoded, _, _) in enumerate(drawn):
        picture = Image.open(io.BytesIO(encoded)).convert("RGB")
        versions = [np.asarray(_version(picture, size, rng)) for _ in range(copies)]
        rows += labelled(f"picture-{seed}-{number:04d}", versions)
    return rows


def _version(picture: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Cut, turned, lit, made smaller and compressed."""
    turned = picture.rotate(rng.normal(0, TURN), Image.Resampling.BICUBIC)
    area, form = rng.uniform(*CROP), rng.uniform(*STRETCH)
    width, height = (min(1.0, side) for side in (np.sqrt(area * form), np.sqrt(area / form)))
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    edge = picture.width
    box = [int(edge * side) for side in (left, top, left + width, top + height)]
    lit = ImageEnhance.Brightness(turned.crop(box)).enhance(rng.uniform(*LIGHT))
    lit = ImageEnhance.Contrast(lit).enhance(rng.uniform(*LIGHT))
    side = int(rng.integers(*SIDES))
    buffer = io.BytesIO()
    lit.resize((side, side)).save(buffer, "JPEG", quality=int(rng.integers(*QUALITY)))
    return Image.open(buffer).resize((size, size), Image.Resampling.BILINEAR)
