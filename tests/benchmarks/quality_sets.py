"""The drawn sets, with their parts to train on and to score, in the shape of public ones.

Those of the seeds from `CHOOSING` on are for choosing settings; figures are reported of the seeds
from 0 on. No two seeds share a class.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from modules.settings import ImageSettings
from tests.benchmarks.drawn_classes import drawn_classes
from tests.benchmarks.drawn_copies import drawn_copies
from tests.benchmarks.drawn_objects import drawn_faces, drawn_products
from tests.real_data import Row, png

CHOOSING = 100


# So many people to train on.
PEOPLE = 31


class QualitySet(NamedTuple):
    """`tests`: `seen`, new images of training classes, or `unseen`, images of new classes."""

    train: list[Row]
    tests: dict[str, list[Row]]
    image: ImageSettings


def many_classes(seed: int) -> QualitySet:
    """2,000 characters, 1,000 pairs that are nearly the same, 10 images of each to train on."""
    rows = drawn_classes(2000, 15, 2 * seed)
    return QualitySet(
        [row for place, row in enumerate(rows) if place % 15 < 10],
        {
            "seen": [row for place, row in enumerate(rows) if place % 15 >= 10],
            "unseen": drawn_classes(400, 10, 2 * seed + 1),
        },
        ImageSettings(),
    )


def characters(seed: int) -> QualitySet:
    """100 characters of 20 images to train on, 50 others to score; in the manner of Omniglot."""
    image = ImageSettings(height=35, width=35)
    return QualitySet(
        drawn_classes(100, 20, 2 * seed, size=35),
        {"unseen": drawn_classes(50, 20, 2 * seed + 1, size=35)},
        image,
    )


def faces(seed: int) -> QualitySet:
    """31 people of 10 images to train on, 9 others to score; in the manner of the ORL faces."""
    rows = drawn_faces(40, 10, seed)
    return QualitySet(rows[:310], {"unseen": rows[310:]}, ImageSettings(height=48, width=48))


def products(seed: int) -> QualitySet:
    """60 products of 20 images to train on, 60 others to score; in colour."""
    rows = drawn_products(120, 20, seed)
    image = ImageSettings(height=64, width=64, channels=3)
    return QualitySet(rows[:1200], {"unseen": rows[1200:]}, image)


def copies(seed: int) -> QualitySet:
    """240 pictures of 5 versions to train on, 120 others to score; in colour."""
    rows = drawn_copies(360, 5, seed)
    image = ImageSettings(height=64, width=64, channels=3)
    return QualitySet(rows[:1200], {"unseen": rows[1200:]}, image)


def real_faces(folder: Path, seed: int) -> QualitySet:
    """The 40 people of the ORL faces, 31 of them, drawn by the seed, to train on.

    Args:
        folder: One folder of .pgm files for each person; see `docs/benchmarks.md`.
        seed: Of the choice of people.
    """
    people = sorted(path.name for path in folder.iterdir() if path.is_dir())
    random.Random(seed).shuffle(people)
    return _parted(folder, set(people[PEOPLE:]))


def ready_faces(folder: Path) -> QualitySet:
    """The same people, held out as `split = "class_disjoint"` does: a fifth by the hash, 9 people.

    Args:
        folder: As of `real_faces`.
    """
    people = [path.name for path in folder.iterdir() if path.is_dir()]
    return _parted(folder, {name for name in people if _hashed(name) % 1000 >= 800})


def _hashed(label: str) -> int:
    """What TFX parts the examples of a class by."""
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()]))
    return int(hashlib.sha256(feature.SerializeToString(deterministic=True)).hexdigest(), 16)


def _parted(folder: Path, unseen: set[str]) -> QualitySet:
    parts: dict[bool, list[Row]] = {False: [], True: []}
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        parts[person.name in unseen] += [
            (
                png(np.asarray(Image.open(file))),
                person.name.encode(),
                f"{person.name}/{file.stem}".encode(),
            )
            for file in sorted(person.glob("*.pgm"))
        ]
    # As the recipe says: 48 high, in the form of the files.
    return QualitySet(parts[False], {"unseen": parts[True]}, ImageSettings(height=48, width=40))


SETS = {
    "many-classes": many_classes,
    "characters": characters,
    "faces": faces,
    "products": products,
    "near-duplicates": copies,
}
