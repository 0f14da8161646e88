"""Sets of shaded objects, drawn from a seed: faces of subtle identity, and coloured products.

Each is a formula of a pixel's place, computed for all images of a class at once. In contrast to
`drawn_classes`, most of what differs between two images of a class is light, pose and background.

>>> from tests.benchmarks.drawn_objects import drawn_faces, drawn_products
>>> len(drawn_faces(people=3, images=2, seed=0)), len(drawn_products(classes=3, images=2, seed=0))
(6, 6)
"""

from __future__ import annotations

import numpy as np

from tests.benchmarks.drawn_classes import labelled
from tests.real_data import Row

# Mean and deviation over people of each measure of a face, in half heights of the image.
FACE = {
    "width": (0.60, 0.05), "height": (0.80, 0.05), "jaw": (0.25, 0.10), "hairline": (-0.50, 0.08),
    "eye_x": (0.25, 0.03), "eye_y": (-0.12, 0.04), "eye_width": (0.10, 0.02),
    "brow_y": (0.15, 0.02), "brow": (0.5, 0.2), "nose_y": (0.15, 0.04), "nose_width": (0.08, 0.02),
    "nose": (0.30, 0.08), "mouth_y": (0.45, 0.04), "mouth_width": (0.18, 0.04),
    "mouth": (0.40, 0.12), "skin": (0.65, 0.08), "hair": (0.20, 0.10), "cheek": (0.10, 0.06),
}  # fmt: skip
# Half height to half width of products, and how round their corners are.
ASPECT, CORNERS = (0.5, 1.0), (1.5, 6.0)


def drawn_faces(people: int, images: int, seed: int, *, size: int = 48) -> list[Row]:
    """Draws faces of people, who turn their heads, under light from any side.

    Args:
        people: How many, the classes.
        images: Of each of them.
        seed: Of everything; the same arguments give the same bytes.
        size: Height and width in pixels.

    Returns:
        (grey PNG, label, id) of each image, person by person.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(people):
        face = {name: rng.normal(*measure) for name, measure in FACE.items()}
        rows += labelled(f"face-{seed}-{number:03d}", _draw_faces(face, images, size, rng))
    return rows


def _grid(images: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The x and y of each pixel in −1…1, float [images, size, size]."""
    y, x = np.mgrid[:size, :size] * (2 / (size - 1)) - 1
    return np.broadcast_to(x, [images, size, size]), np.broadcast_to(y, [images, size, size])


def _edge(inside: np.ndarray, size: int) -> np.ndarray:
    """A mask in 0…1, smooth over about a pixel, of where a distance in −1…1 is positive."""
    return np.clip(inside * size / 2 + 0.5, 0, 1)


def _draw_faces(
    face: dict[str, float], images: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """uint8 [images, size, size]."""

    def drawn(spread: float) -> np.ndarray:
        return rng.normal(0, spread, [images, 1, 1])

    x, y = _grid(images, size)
    turn, nod, lean = drawn(0.25), drawn(0.08), drawn(0.08)
    zoom = 1 + drawn(0.05)
    x, y = x * zoom + y * lean + drawn(0.05), y * zoom - x * lean + drawn(0.05)
    width = face["width"] * (1 - face["jaw"] * np.clip(y, 0, 1))
    depth = 1 - (x / width) ** 2 - (y / face["height"]) ** 2
    height = np.sqrt(np.clip(depth, 0, None))  # of the head above the plane of the image

    def bump(at_x: float, at_y: float, wide: float, tall: float, raised: float = 0.5) -> np.ndarray:
        """A spot on the head; turning moves what is near to the viewer."""
        moved_x, moved_y = at_x + turn * raised, at_y + nod * raised
        return np.exp(-(((x - moved_x) / wide) ** 2) - ((y - moved_y) / tall) ** 2)

    eyes = brows = cheeks = 0.0
    for side in (-1, 1):
        eye_x, eye_y = side * face["eye_x"], face["eye_y"]
        eyes = eyes + bump(eye_x, eye_y, face["eye_width"], 0.05)
        brows = brows + bump(eye_x, eye_y - face["brow_y"], face["eye_width"] * 1.4, 0.03)
        cheeks = cheeks + bump(1.3 * eye_x, 0.2, 0.12, 0.12, 0.4)
    smile = np.clip(1 + drawn(0.25), 0.4, 1.8)
    mouth = bump(0, face["mouth_y"], face["mouth_width"] * smile, 0.045 / smile, 0.6)
    nose = bump(0, face["nose_y"], face["nose_width"], 0.16, 0.8)
    shape = height + face["nose"] * nose + face["cheek"] * cheeks - 0.15 * eyes
    slope_y, slope_x = np.gradient(shape, 2 / size, axis=(1, 2))
    light_x, light_y = drawn(0.5), drawn(0.3) - 0.2
    shade = (1 - light_x * slope_x - light_y * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    skin = face["skin"] * (1 - 0.6 * eyes - face["brow"] * brows - face["mouth"] * mouth)
    hair = _edge(face["hairline"] + 0.3 * x**2 - y, size)
    albedo = skin + hair * (face["hair"] - skin)
    head = _edge(depth * 0.4, size)
    background = rng.uniform(0.1, 0.9, [images, 1, 1]) + drawn(0.15) * x
    image = background + head * (albedo * (0.35 + 0.65 * np.clip(shade, 0, 1.5)) - background)
    return _to_bytes(image * (1 + drawn(0.1)), 0.02, rng)


def drawn_products(classes: int, images: int, seed: int, *, size: int = 64) -> list[Row]:
    """Draws coloured things with a pattern and a label, on any background, turned and lit.

    Classes 2·i and 2·i + 1 have the same shape and colours and differ in pattern and label, as two
    kinds of one brand do.

    Args:
        classes: How many.
        images: Of each class.
        seed: Of everything; the same arguments give the same bytes.
        size: Height and width in pixels.

    Returns:
        (colour PNG, label, id) of each image, class by class.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(classes):
        if number % 2 == 0:
            brand = {
                "aspect": rng.uniform(*ASPECT),
                "corners": rng.uniform(*CORNERS),
                "waist": rng.uniform(-0.3, 0.3),
                "colours": rng.uniform(0.1, 0.95, [3, 3]),
            }
        kind = {
            "stripes": rng.uniform(2, 9),
            "angle": rng.uniform(0, np.pi),
            "label": rng.uniform([-0.3, -0.5, 0.2, 0.1], [0.3, 0.5, 0.5, 0.3]),
        }
        pictures = _draw_products(brand | kind, images, size, rng)
        rows += labelled(f"product-{seed}-{number:03d}", pictures)
    return rows


def _draw_products(thing: dict, images: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [images, size, size, 3]."""

    def drawn(spread: float, *channels: int) -> np.ndarray:
        return rng.normal(0, spread, [images, 1, 1, *channels])

    plane_x, plane_y = _grid(images, size)
    turn, zoom = drawn(0.15), rng.uniform(1.1, 1.5, [images, 1, 1])
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    moved_x, moved_y = plane_x + drawn(0.08), plane_y + drawn(0.08)
    x, y = cos * moved_x - sin * moved_y, sin * moved_x + cos * moved_y
    x = x * (1 + np.abs(drawn(0.15)))  # seen from the side
    half = thing["aspect"] * (1 + thing["waist"] * np.cos(np.pi * y))
    power = thing["corners"]
    body = _edge(0.5 * (1 - np.abs(x / half) ** power - np.abs(y) ** power), size)[..., None]
    first, second, third = thing["colours"]
    wave = np.sin(thing["stripes"] * (np.cos(thing["angle"]) * x + np.sin(thing["angle"]) * y))
    colour = first + (0.5 + 0.5 * wave)[..., None] * (second - first)
    at_x, at_y, wide, tall = thing["label"]
    inside = np.minimum(wide * thing["aspect"] - np.abs(x - at_x * thing["aspect"]),
                        tall - np.abs(y - at_y))  # fmt: skip
    colour = colour + _edge(inside, size)[..., None] * (third - colour)
    shade = 1 - 0.5 * (x / half * np.sign(drawn(1)) * 0.7 + 0.3) ** 2
    colour = colour * np.clip(shade, 0.3, 1)[..., None] * (1 + drawn(0.15))[..., None]
    colour = colour * (1 + drawn(0.05, 3))  # of the light
    waves = drawn(2.0) * plane_x + drawn(2.0) * plane_y + drawn(2.0)
    background = (
        rng.uniform(0.25, 0.75, [images, 1, 1, 3]) + drawn(0.1, 3) * np.sin(waves)[..., None]
    )
    return _to_bytes(background + body * (colour - background), 0.03, rng)


def _to_bytes(image: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """From 0…1, with noise, to uint8."""
    return (np.clip(image + rng.normal(0, noise, image.shape), 0, 1) * 255).astype(np.uint8)
