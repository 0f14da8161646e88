"""Pools: the images of some of TripletGen's files in memory, and the batches made of them.

A file holds a bucket: a few thousand images with the triplets among them. The images of some files
make a pool. Every batch comes from one pool, so memory is bounded however large the data is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.batches.pixel_cache import decode_if_fits
from modules.batches.reading import BATCHES_AHEAD, TransformImages, fingerprint, triplet_files
from modules.contract import COPY, IMAGE, LABEL, NEGATIVES, POSITIVES
from modules.storage import without_autotune

# Encoded bytes after which a pool takes in no further file.
POOL_BYTES = 256 * 2**20
_PARSED_AT_ONCE = 1024


class Pool(NamedTuple):
    """Images that batches are made of.

    Attributes:
        images: Encoded, object [N] of bytes; empty where their pixels are kept elsewhere.
        labels: Fingerprints of their class names, int64 [N].
        own: Whether this is the image's place, bool [N], not a copy that is only a negative here.
        triplets: Row numbers of anchor, positive and negative, int32 [T, 3], ascending by anchor.
    """

    images: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    triplets: np.ndarray


# From a pool to the rows of its batches, int [≤ size] each.
Deal = Callable[[Pool, np.random.Generator], Iterator[np.ndarray]]


def read_file(path: str) -> Pool:
    """Reads an uncompressed TFRecord file of TripletGen; `modules.contract` says what is in it."""
    ragged = {
        name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
        for name in (POSITIVES, NEGATIVES)
    }
    spec = ragged | {
        IMAGE: tf.io.FixedLenFeature([], tf.string),
        LABEL: tf.io.FixedLenFeature([], tf.string),
        COPY: tf.io.FixedLenFeature([], tf.int64, 0),
    }

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        row = tf.io.parse_example(serialized, spec)
        return {
            "images": row[IMAGE],
            "labels": fingerprint(row[LABEL]),
            "own": tf.equal(row[COPY], 0),
            "counts": row[POSITIVES].row_lengths(),
            "positives": row[POSITIVES].flat_values,
            "negatives": row[NEGATIVES].flat_values,
        }

    batches = without_autotune(
        tf.data.TFRecordDataset(path).batch(_PARSED_AT_ONCE).map(parse).prefetch(1)
    )
    parts = list(batches.as_numpy_iterator())
    if not parts:
        return Pool(
            np.empty(0, object),
            np.empty(0, np.int64),
            np.empty(0, bool),
            np.empty((0, 3), np.int32),
        )
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    anchors = np.repeat(np.arange(len(column["labels"])), column["counts"])
    triplets = np.stack([anchors, column["positives"], column["negatives"]], axis=1)
    return Pool(column["images"], column["labels"], column["own"], triplets.astype(np.int32))


def join(pools: Sequence[Pool]) -> Pool:
    """Puts pools one behind the other."""
    sizes = [len(pool.labels) for pool in pools]
    starts = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
    triplets = [pool.triplets + start for pool, start in zip(pools, starts, strict=True)]
    columns = zip(*(pool[:3] for pool in pools), strict=True)
    images, labels, own = (np.concatenate(column) for column in columns)
    return Pool(images, labels, own, np.concatenate(triplets))


class Pools:
    """The pools of all passes, each with a generator for its random choices.

    A first pool that takes in all files is kept. Otherwise the files are read anew in every pass,
    in another order, so that other ones come together.

    Args:
        file_patterns: Globs of TripletGen's files.
        seed: Of the order of files, and of the choices.
        limit: Encoded bytes after which a pool takes in no further file.

    Raises:
        ValueError: No file matches.
    """

    def __init__(self, file_patterns: Sequence[str], seed: int, limit: int = POOL_BYTES) -> None:
        self.files = triplet_files(file_patterns)
        self._seed, self._limit = seed, limit
        self.first, used = next(self._read_pass(np.random.default_rng(seed)))
        self.complete = used == len(self.files)

    def decode(self, transform_images: TransformImages, cache_bytes: int) -> tf.Tensor | None:
        """The pixels of all images, float32 [N, H, W, C], if they fit; the encoded ones go then."""
        if not self.complete or not cache_bytes:
            return None
        pixels = decode_if_fits(self.first.images, transform_images, cache_bytes)
        if pixels is None:
            return None
        self.first = self.first._replace(images=np.empty(0, object))
        return tf.constant(pixels)

    def __iter__(self) -> Iterator[Iterator[tuple[Pool, np.random.Generator]]]:
        """Yields passes without end; a pass yields pools."""
        rng = np.random.default_rng(self._seed)
        while True:
            if self.complete:
                yield iter([(self.first, rng)])
            else:
                yield ((pool, rng) for pool, _ in self._read_pass(rng))

    def _read_pass(self, rng: np.random.Generator) -> Iterator[tuple[Pool, int]]:
        """Reads every file once; yields pools and the number of files in each."""
        order = [self.files[i] for i in rng.permutation(len(self.files))]
        parts: list[Pool] = []
        size = 0
        for position, path in enumerate(order):
            parts.append(read_file(path))
            size += sum(map(len, parts[-1].images.tolist()))
            if size >= self._limit or position + 1 == len(order):
                yield join(parts), len(parts)
                parts, size = [], 0


def batches_of(
    pools: Pools,
    deal: Deal,
    transform_images: TransformImages,
    *,
    skip: int = 0,
    cache_bytes: int = 0,
    nothing: str = "",
) -> tf.data.Dataset:
    """The batches that `deal` makes of each pool, decoded.

    Args:
        pools: See there.
        deal: Rows of every batch of a pool.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache_bytes: Decode only once if all images are in one pool and their pixels take at most
            this much memory.
        nothing: The message of the error when a whole pass makes no batch.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]), see `fingerprint`.

    Raises:
        ValueError: While it is read: a whole pass makes no batch. If there is one pool, before.
    """
    pixels = pools.decode(transform_images, cache_bytes)
    if pools.complete and next(deal(pools.first, np.random.default_rng(0)), None) is None:
        raise ValueError(nothing)

    def batches() -> Iterator[tuple[Pool, np.ndarray]]:
        to_skip = skip
        for one_pass in pools:
            empty = True
            for pool, rng in one_pass:
                for rows in deal(pool, rng):
                    empty = False
                    if to_skip:
                        to_skip -= 1
                    else:
                        yield pool, rows
            if empty:
                raise ValueError(nothing)

    if pixels is not None:
        # Only rows come from Python: pixels copied there would hold up the training step.
        labels = tf.constant(pools.first.labels)
        dataset = tf.data.Dataset.from_generator(
            lambda: (rows for _, rows in batches()),
            output_signature=tf.TensorSpec([None], tf.int64),
        ).map(lambda rows: (tf.gather(pixels, rows), tf.gather(labels, rows)))
    else:
        dataset = tf.data.Dataset.from_generator(
            lambda: ((pool.images[rows], pool.labels[rows]) for pool, rows in batches()),
            output_signature=(tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int64)),
        ).map(
            lambda encoded, labels: (transform_images(encoded), labels),
            num_parallel_calls=os.cpu_count(),
            deterministic=True,
        )
    return without_autotune(dataset.prefetch(BATCHES_AHEAD))
