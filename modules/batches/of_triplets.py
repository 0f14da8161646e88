"""Training batches of TripletGen's own triplets, for `mining = "none"`.

`modules.batches.of_classes` makes the batches for mining from the images of the triplets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.batches.distinct_images import DistinctImages
from modules.batches.pixel_cache import decode_if_fits
from modules.batches.reading import (
    BATCHES_AHEAD,
    TransformImages,
    triplet_files,
)
from modules.contract import IMAGE, LABEL, ROLES
from modules.storage import without_autotune

_FILES_IN_PARALLEL = 8


def triplet_batches(
    file_patterns: Sequence[str],
    transform_images: TransformImages,
    batch_size: int,
    seed: int,
    *,
    skip: int = 0,
    cache_bytes: int = 0,
) -> tf.data.Dataset:
    """Reads triplets for training in the row order that the losses expect.

    An image occurs in several triplets; if all fit into the cache each is decoded once. The same
    arguments give the same batches; the order depends on whether they fit.

    Args:
        file_patterns: Globs of uncompressed TFRecord files with triplets of the contract.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        batch_size: B, in triplets.
        seed: Of the shuffling, which is anew in every pass.
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache_bytes: Decode only once if neither the files nor the pixels take more than this.

    Returns:
        An endless dataset of (pixels float32 [3·B, H, W, C], labels int32 [3·B]); rows are the B
        anchors, the B positives, the B negatives. Labels are numbers that are valid in the batch.

    Raises:
        ValueError: If no file matches, or there are no triplets in them.
    """
    files = triplet_files(file_patterns)
    cached = _read_into_memory(files, transform_images, cache_bytes)
    if cached is not None:
        return _from_memory(cached, batch_size, seed, skip)
    features = {
        f"{role}/{name}": tf.io.FixedLenFeature([], tf.string)
        for role in ROLES
        for name in (IMAGE, LABEL)
    }

    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialized, features)
        labels = tf.concat([parsed[f"{role}/{LABEL}"] for role in ROLES], axis=0)
        images = tf.concat([parsed[f"{role}/{IMAGE}"] for role in ROLES], axis=0)
        return transform_images(images), tf.unique(labels).idx

    return without_autotune(
        tf.data.Dataset.from_tensor_slices(files)
        .shuffle(len(files), seed=seed)
        .interleave(tf.data.TFRecordDataset, cycle_length=_FILES_IN_PARALLEL)
        # A file is in random order already; the buffer mixes the files that are read together.
        .shuffle(8 * batch_size, seed=seed)
        .repeat()
        .skip(skip * batch_size)
        .batch(batch_size, drop_remainder=True)
        .map(decode, num_parallel_calls=os.cpu_count(), deterministic=True)
        .prefetch(BATCHES_AHEAD)
    )


class _Triplets(NamedTuple):
    """All triplets in memory.

    `rows`, int32 [T, 3], of `pixels`, float32 [N, H, W, C], and of `codes`, int32 [N], which number
    the classes.
    """

    rows: np.ndarray
    pixels: np.ndarray
    codes: np.ndarray


def _read_into_memory(
    files: list[str], transform_images: TransformImages, limit: int
) -> _Triplets | None:
    """Decodes each image once, None if that does not fit."""
    if not limit or sum(tf.io.gfile.stat(path).length for path in files) > limit:
        return None
    found = DistinctImages()
    rows = np.concatenate([found.read(path) for path in files])
    if not len(rows):
        raise ValueError(f"There are no triplets in {files[0]} and the files beside it.")
    images, codes = found.arrays()
    pixels = decode_if_fits(images, transform_images, limit)
    return None if pixels is None else _Triplets(rows, pixels, codes)


def _from_memory(triplets: _Triplets, batch_size: int, seed: int, skip: int) -> tf.data.Dataset:
    rng = np.random.default_rng(seed)

    def batches() -> Iterator[np.ndarray]:
        rest, to_skip = np.empty(0, np.int64), skip
        while True:  # a batch may reach into the next pass
            while len(rest) < batch_size:
                rest = np.concatenate([rest, rng.permutation(len(triplets.rows))])
            chosen, rest = rest[:batch_size], rest[batch_size:]
            if to_skip:
                to_skip -= 1
            else:
                yield triplets.rows[chosen].T.ravel()

    pixels, codes = tf.constant(triplets.pixels), tf.constant(triplets.codes)
    return without_autotune(
        tf.data.Dataset.from_generator(
            batches, output_signature=tf.TensorSpec([len(ROLES) * batch_size], tf.int32)
        )
        .map(lambda rows: (tf.gather(pixels, rows), tf.gather(codes, rows)))
        .prefetch(BATCHES_AHEAD)
    )
