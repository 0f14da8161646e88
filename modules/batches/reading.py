"""What all readers of TripletGen's files share, and the images of the eval split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import ID, IMAGE, LABEL
from modules.storage import read_examples

TransformImages = Callable[[tf.Tensor], tf.Tensor]  # encoded, string [N], to pixels [N, H, W, C]
BATCHES_AHEAD = 3


class LabelledImages(NamedTuple):
    """Encoded images with their labels and ids, three object arrays [N] of bytes."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def anchor_images(file_patterns: Sequence[str], limit: int) -> LabelledImages:
    """Reads the anchors of TripletGen's files, each image once.

    Args:
        file_patterns: Globs of uncompressed TFRecord files with triplets of the contract.
        limit: The largest number of images; they stay in memory, encoded.

    Returns:
        The first anchors by file and place. TripletGen puts them in random order.

    Raises:
        ValueError: If no file matches, or there is nothing in them.
    """
    files = triplet_files(file_patterns)
    names = [f"anchor/{name}" for name in (IMAGE, LABEL, ID)]
    found: dict[bytes, tuple[bytes, bytes, bytes]] = {}
    for batch in read_examples(files, names, compression="", batch_size=256):
        for row in zip(*(batch[name].numpy() for name in names), strict=True):
            found.setdefault(row[2], row)
        if len(found) >= limit:
            break
    rows = list(found.values())[:limit]
    if not rows:
        raise ValueError(f"There are no triplets in {', '.join(file_patterns)}.")
    return LabelledImages(*(np.array(column, object) for column in zip(*rows, strict=True)))


def count_images(file_patterns: Sequence[str]) -> tuple[int, int]:
    """Counts the anchors of TripletGen's files, each image once, and their classes.

    Raises:
        ValueError: If no file matches.
    """
    names = [f"anchor/{name}" for name in (ID, LABEL)]
    found: dict[bytes, bytes] = {}
    files = triplet_files(file_patterns)
    for batch in read_examples(files, names, compression="", batch_size=1024):
        found.update(zip(*(batch[name].numpy() for name in names), strict=True))
    return len(found), len(set(found.values()))


def triplet_files(patterns: Sequence[str]) -> list[str]:
    """The files that match, sorted.

    Raises:
        ValueError: There are none.
    """
    files = sorted({path for pattern in patterns for path in tf.io.gfile.glob(pattern)})
    if not files:
        raise ValueError(
            f"No triplet files match {', '.join(patterns)}. Did TripletGen write this split?"
        )
    return files
