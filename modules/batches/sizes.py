"""How many images a batch holds when the settings do not say it."""

from __future__ import annotations

from modules.settings import ImageSettings

_IMAGES = 384
_LEAST = 48
# Above this many pixels an image takes its share of the memory of a batch.
_PIXELS = 64 * 64


def choose_batch_size(image: ImageSettings) -> int:
    """Images in a batch of triplets.

    It is 384 up to 64 × 64 pixels, and for larger images as many as have the same number of pixels
    together, but no fewer than 48: below that a miner finds little.

    >>> choose_batch_size(ImageSettings(height=28, width=28))
    384
    >>> choose_batch_size(ImageSettings(height=128, width=128))
    96
    """
    return max(_LEAST, min(_IMAGES, _IMAGES * _PIXELS // (image.height * image.width)))
