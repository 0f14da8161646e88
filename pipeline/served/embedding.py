"""Embeds images of which some may be no images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from modules.models import Embedder

_Embed = Callable[[list[bytes]], np.ndarray]
_FILLED = 64  # images


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What came of some images.

    Attributes:
        vectors: float32 [G, D] of the good ones, of norm 1.
        rows: int64 [G], which images these are.
        faults: By number of the image, why it could not be embedded.
    """

    vectors: np.ndarray
    rows: np.ndarray
    faults: dict[int, str]


def embed_images(
    embedder: Embedder, images: Sequence[bytes], max_pixels: int, *, filled: bool = False
) -> Embedded:
    """Embeds images as they are; if the model refuses one, looks at each and goes on without it.

    Images are looked at as ExampleGen does: what the served graph cannot decode, such as an
    animated WebP, becomes a PNG first.

    Args:
        embedder: The model.
        images: Encoded files.
        max_pixels: Largest width × height, looked up in the header before anything is decoded.
        filled: Call the model with batches of one size, see `modules.models.Embedder`. An embedding
            is then the same, bit by bit, whichever images are beside it; of few images it takes
            longer.

    Returns:
        Vectors of the good images, and a reason for each of the others.
    """
    from components.image_example_gen import check_image, header_fault, turns_late

    call = functools.partial(embedder, batch_size=_FILLED, filled=True) if filled else embedder

    faults = {
        number: fault
        for number, image in enumerate(images)
        if (fault := header_fault(image, max_pixels))
    }
    good = {number: image for number, image in enumerate(images) if number not in faults}
    # The graph would take these, and see them lie on their side.
    late = any(turns_late(image) for image in good.values())
    vectors = None if late else _try(call, list(good.values()))
    if vectors is None:
        for number in list(good):
            checked = check_image(good.pop(number), max_pixels)
            if checked.image is None:
                faults[number] = checked.fault or "it cannot be decoded"
            else:
                good[number] = checked.image
        vectors = _one_by_one(call, good, faults)
    rows = np.array(sorted(good), np.int64)
    finite = np.isfinite(vectors).all(axis=1)
    faults |= {int(row): "its embedding is not finite" for row in rows[~finite]}
    return Embedded(vectors[finite], rows[finite], dict(sorted(faults.items())))


def _try(embed: _Embed, images: list[bytes]) -> np.ndarray | None:
    """float32 [N, D], [0, 0] without images; None if the model refuses one of them."""
    from modules.models import UnreadableImageError

    if not images:
        return np.empty((0, 0), np.float32)
    try:
        return embed(images)
    except UnreadableImageError:
        return None


def _one_by_one(embed: _Embed, good: dict[int, bytes], faults: dict[int, str]) -> np.ndarray:
    """Embeds what passed the check; what the model refuses all the same moves to the faults."""
    from modules.models import UnreadableImageError

    while True:
        numbers = sorted(good)
        try:
            return embed([good[n] for n in numbers]) if good else np.empty((0, 0), np.float32)
        except UnreadableImageError as error:
            faults[numbers[error.number]] = error.reason
            del good[numbers[error.number]]
