"""Files as TripletGen writes them, made of chosen triplets of real digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from modules.contract import COPY, NEGATIVES, POSITIVES, make_example
from tests.real_data import Row, digits

Triplet = tuple[Row, Row, Row]


def write_shards(
    folder: Path, shards: Sequence[Sequence[Triplet]], others: Sequence[Row] = (), copy: int = 0
) -> list[str]:
    """Writes a file for each list of triplets; returns their pattern.

    Every image is written once in a file, in the order in which it is found; `others` stand at the
    end of the first file, in no triplet, marked with `copy`.
    """
    for number, triplets in enumerate(shards):
        found: dict[bytes, int] = {}
        rows: list[Row] = []
        of_anchor: dict[int, list[tuple[int, int]]] = {}
        for triplet in triplets:
            for row in triplet:
                if row[2] not in found:
                    found[row[2]] = len(rows)
                    rows.append(row)
            anchor, positive, negative = (found[row[2]] for row in triplet)
            of_anchor.setdefault(anchor, []).append((positive, negative))
        with tf.io.TFRecordWriter(str(folder / f"triplets-{number:05d}.tfrecord")) as writer:
            last = [] if number else list(others)
            for place, (image, label, name) in enumerate([*rows, *last]):
                example = make_example(image, label, name)
                pairs = of_anchor.get(place, [])
                for key, column in ((POSITIVES, 0), (NEGATIVES, 1)):
                    values = [pair[column] for pair in pairs]
                    example.features.feature[key].int64_list.value.extend(values)
                is_copy = copy if place >= len(rows) else 0
                example.features.feature[COPY].int64_list.value.append(is_copy)
                writer.write(example.SerializeToString())
    return [f"{folder}/triplets-*"]


def digit_shards(folder: Path, per_class: int = 6, count: int = 3) -> list[str]:
    """All digits are anchors once; shard i holds the i-th part of each class."""
    shards = []
    for number in range(count):
        rows = digits(per_class, start=number * per_class)
        by_class = [rows[i : i + per_class] for i in range(0, len(rows), per_class)]
        shards.append(
            [
                (row, members[(i + 1) % per_class], by_class[(c + 1) % 10][i])
                for c, members in enumerate(by_class)
                for i, row in enumerate(members)
            ]
        )
    return write_shards(folder, shards)


def take(dataset: tf.data.Dataset, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first batches."""
    return [(images.numpy(), codes.numpy()) for images, codes in dataset.take(count)]
