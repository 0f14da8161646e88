"""Sets of many classes that look alike, drawn from a seed: characters, as if written by hand.

A class is a few strokes, quadratic Bézier curves of three control points. With `twins`, every
second class is the one before it with one stroke bent or moved. An image is its class with moved
control points, under a random affine map, in a random width, with noise. Nothing is downloaded,
and another seed gives other classes.

>>> from tests.benchmarks.drawn_classes import drawn_classes
>>> rows = drawn_classes(classes=4, images=2, seed=0)
>>> [(label, name) for _, label, name in rows][:3]
[(b'0-0000', b'0-0000/000'), (b'0-0000', b'0-0000/001'), (b'0-0001', b'0-0001/000')]
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from tests.real_data import Row, png

FINER = 4  # drawn so many times larger and then averaged, for smooth edges
STROKES = (2, 5)  # from, below
POINTS = 12  # of a curve
BEND = 0.5  # of the twin's stroke; the field reaches from −1 to 1
JITTER = 0.04  # of control points, standard deviation
WIDTH = (0.09, 0.17)
NOISE = 12.0  # of 255, standard deviation

_T = np.linspace(0, 1, POINTS)[:, None]
BERNSTEIN = np.hstack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2])  # [POINTS, 3]


def drawn_classes(
    classes: int, images: int, seed: int, *, size: int = 28, twins: bool = True
) -> list[Row]:
    """Draws images of characters, light on dark.

    Args:
        classes: How many.
        images: Of each class.
        seed: Of everything; the same arguments give the same bytes.
        size: Height and width in pixels.
        twins: Whether classes 2·i and 2·i + 1 differ in one stroke only.

    Returns:
        (grey PNG, label, id) of each image, class by class. Labels begin with the seed, so those
        of two seeds differ.
    """
    rng = np.random.default_rng(seed)
    glyphs = _glyphs(classes, twins, rng)
    rows = []
    for number, glyph in enumerate(glyphs):
        rows += labelled(
            f"{seed}-{number:04d}",
            (_noisy(image, rng) for image in _write(glyph, images, size, rng)),
        )
    return rows


def labelled(label: str, images: Iterable[np.ndarray]) -> list[Row]:
    """Encodes the images, uint8, of a class as PNG."""
    return [
        (png(image), label.encode(), f"{label}/{number:03d}".encode())
        for number, image in enumerate(images)
    ]


def _glyphs(classes: int, twins: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """The strokes of each class, float [S, 3, 2] in −1…1."""
    glyphs: list[np.ndarray] = []
    while len(glyphs) < classes:
        glyph = rng.uniform(-0.8, 0.8, [rng.integers(*STROKES), 3, 2])
        glyphs.append(glyph)
        if twins:
            twin = glyph.copy()
            angle = rng.uniform(0, 2 * np.pi)
            # The middle point bends a stroke, an end turns it.
            twin[rng.integers(len(glyph)), rng.integers(3)] += BEND * np.array(
                [np.cos(angle), np.sin(angle)]
            )
            glyphs.append(twin)
    return glyphs[:classes]


def _write(
    glyph: np.ndarray, images: int, size: int, rng: np.random.Generator
) -> Iterable[np.ndarray]:
    """Draws the strokes of a class, each time a little differently; uint8 [size, size]."""
    points = glyph + rng.normal(0, JITTER, [images, *glyph.shape])
    affine = np.eye(2) + rng.normal(0, 0.12, [images, 2, 2])
    shift = rng.uniform(-0.12, 0.12, [images, 1, 1, 2])
    points = np.einsum("nskx,nyx->nsky", points, affine) + shift
    edge = size * FINER
    curves = (np.einsum("tk,nskx->nstx", BERNSTEIN, points) + 1) * edge / 2
    widths = np.maximum(1, rng.uniform(*WIDTH, images) * edge / 2).astype(int)
    for strokes, width in zip(curves, widths.tolist(), strict=True):
        canvas = Image.new("L", (edge, edge))
        draw = ImageDraw.Draw(canvas)
        for stroke in strokes:
            draw.line([tuple(point) for point in stroke.tolist()], 255, width, joint="curve")
        yield np.asarray(canvas.reduce(FINER))


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image + rng.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8)
