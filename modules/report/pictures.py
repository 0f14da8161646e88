"""Small pictures for a page, which together keep to a number of bytes."""

from __future__ import annotations

from collections.abc import Mapping

from modules.images import small_webp

LARGEST = 96  # pixels, height and width at most
QUALITY = 60
_SMALLER = ((80, 55), (64, 50), (48, 45), (40, 40), (32, 35), (24, 30))  # pixels, quality
# A page of 1,000 images stays below 3 MB and one of 10,000 below 8 MB, with all else that is in it;
# in the page four characters stand for three bytes.
_OF_THOUSAND, _EACH_MORE = 1_700_000, 240


def most_bytes(images: int) -> int:
    """How many bytes so many pictures may take."""
    return _OF_THOUSAND + _EACH_MORE * max(0, images - 1000)


def fit_pictures(pictures: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Makes pictures smaller until all of them together are small enough.

    Args:
        pictures: By id, as `modules.images.small_webp` makes them.

    Returns:
        The same, or smaller ones: all of one size at most.
    """
    found = dict(pictures)
    for pixels, quality in _SMALLER:
        if sum(map(len, found.values())) <= most_bytes(len(found)):
            break
        found = {one: small_webp(picture, pixels, quality) for one, picture in pictures.items()}
    return found
