"""What all readers of TripletGen's files share, and the images of the validation part."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import COPY, ID, IMAGE, LABEL
from modules.storage import read_examples, without_autotune

TransformImages = Callable[[tf.Tensor], tf.Tensor]  # encoded, string [N], to pixels [N, H, W, C]
BATCHES_AHEAD = 3
_COUNTED_AT_ONCE = 1024
_LARGEST_FINGERPRINT = 2**63 - 1


class LabelledImages(NamedTuple):
    """Encoded images with their labels and ids, three object arrays [N] of bytes."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def labelled_images(file_patterns: Sequence[str], limit: int | None = None) -> LabelledImages:
    """Reads images of TripletGen's files, with a limit about as many of each file.

    Args:
        file_patterns: Globs of uncompressed TFRecord files of labelled images.
        limit: The largest number of images, all by default; they stay in memory, encoded.

    Returns:
        The first images of each file, without repeated ids. TripletGen puts them in random order.

    Raises:
        ValueError: No file matches, or there is nothing in them.
    """
    files = triplet_files(file_patterns)
    found: dict[bytes, tuple[bytes, bytes, bytes]] = {}
    for number, path in enumerate(files):
        # What short files leave goes to those behind.
        left = sys.maxsize if limit is None else limit - len(found)
        share = -(-left // (len(files) - number))
        taken = 0
        for batch in read_examples(path, (IMAGE, LABEL, ID), compression="", batch_size=256):
            columns = (batch[name].numpy() for name in (IMAGE, LABEL, ID))
            for row in list(zip(*columns, strict=True))[: share - taken]:
                found.setdefault(row[2], row)
                taken += 1
            if taken >= share:
                break
    if not found:
        raise ValueError(f"There are no images in {', '.join(file_patterns)}.")
    return LabelledImages(
        *(np.array(column, object) for column in zip(*found.values(), strict=True))
    )


def validation_images(
    train_patterns: Sequence[str], validation_patterns: Sequence[str]
) -> tuple[LabelledImages, LabelledImages | None]:
    """Reads what a training is validated with.

    Args:
        train_patterns: Globs of the part that is trained on.
        validation_patterns: Globs of the validation part.

    Returns:
        The queries, and more images to search in: as many of the classes that are trained on, if
        whole classes are held out. With few of them, each other would be too easy to tell.

    Raises:
        ValueError: No file matches, or there is nothing in them.
    """
    queries = labelled_images(validation_patterns)
    if count_classes(train_patterns).keys() & count_classes(validation_patterns).keys():
        return queries, None
    return queries, labelled_images(train_patterns, len(queries.images))


def count_classes(file_patterns: Sequence[str]) -> dict[int, int]:
    """Counts the images of each class, without copies, by the fingerprint of its name, ascending.

    Raises:
        ValueError: No file matches.
    """
    spec = {
        LABEL: tf.io.FixedLenFeature([], tf.string),
        COPY: tf.io.FixedLenFeature([], tf.int64, 0),
    }

    def own_labels(serialized: tf.Tensor) -> tf.Tensor:
        row = tf.io.parse_example(serialized, spec)
        return fingerprint(tf.boolean_mask(row[LABEL], tf.equal(row[COPY], 0)))

    counts: Counter[int] = Counter()
    files = tf.data.TFRecordDataset(triplet_files(file_patterns))
    for labels in without_autotune(files.batch(_COUNTED_AT_ONCE).map(own_labels).prefetch(1)):
        counts.update(labels.numpy().tolist())
    return dict(sorted(counts.items()))


def fingerprint(labels: tf.Tensor) -> tf.Tensor:
    """Numbers class names, string [N] to int64 [N], in every file and batch alike.

    It is a hash of 63 bits: among a million classes two have the same with a probability below
    one in ten million.
    """
    return tf.strings.to_hash_bucket_fast(labels, _LARGEST_FINGERPRINT)


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
