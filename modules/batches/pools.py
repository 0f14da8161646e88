"""Pools: the images of some of TripletGen's files in memory, and the batches made of them.

A file holds a bucket: a few thousand images with the triplets among them. The images of some files
make a pool. Every batch comes from one pool, so memory is bounded however large the data is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.batches.pixel_cache import NO_CACHE, CacheLimits, KeptPixels, keep_pixels
from modules.batches.reading import BATCHES_AHEAD, TransformImages, fingerprint, triplet_files
from modules.contract import COPY, IMAGE, LABEL, NEGATIVES, POSITIVES
from modules.storage import without_autotune

# Encoded bytes after which a pool takes in no further file.
POOL_BYTES = 256 * 2**20
_PARSED_AT_ONCE = 1024


class Pool(NamedTuple):
    """Images that batches are made of.

    Attributes:
        images: Encoded, object [N] of bytes; where the decoded pixels of all pools are kept, int64
            [N]: their rows there.
        labels: Fingerprints of their class names, int64 [N].
        own: Whether this is the image's place, bool [N], not a copy that is only a negative here.
        keys: Fingerprints of the encoded images, int64 [N], by which `FeatureCache` knows them.
        triplets: Row numbers of anchor, positive and negative, int32 [T, 3], ascending by anchor.
    """

    images: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    keys: np.ndarray
    triplets: np.ndarray


class Share(NamedTuple):
    """The part of every batch that one of several machines embeds.

    Attributes:
        replicas: Equal parts that a batch has, in order.
        own: Which of them are here.
    """

    replicas: int
    own: range

    def of(self, rows: np.ndarray) -> list[np.ndarray]:
        """The own parts of a batch, whose number of rows `replicas` divides.

        >>> Share(3, range(1, 3)).of(np.arange(6))
        [array([2, 3]), array([4, 5])]
        """
        size = len(rows) // self.replicas
        return [rows[number * size : (number + 1) * size] for number in self.own]


# From a pool to the rows of its batches, int [≤ size] each.
Deal = Callable[[Pool, np.random.Generator], Iterator[np.ndarray]]
# From keys, int64 [N], to what there is of those images, [N, …].
LookUp = Callable[[tf.Tensor], tf.Tensor]


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
            "keys": fingerprint(row[IMAGE]),
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
            np.empty(0, np.int64),
            np.empty((0, 3), np.int32),
        )
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    anchors = np.repeat(np.arange(len(column["labels"])), column["counts"])
    triplets = np.stack([anchors, column["positives"], column["negatives"]], axis=1)
    return Pool(
        column["images"],
        column["labels"],
        column["own"],
        column["keys"],
        triplets.astype(np.int32),
    )


def join(pools: Sequence[Pool]) -> Pool:
    """Puts pools one behind the other."""
    sizes = [len(pool.labels) for pool in pools]
    starts = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
    triplets = [pool.triplets + start for pool, start in zip(pools, starts, strict=True)]
    columns = zip(*(pool[:-1] for pool in pools), strict=True)
    images, labels, own, keys = (np.concatenate(column) for column in columns)
    return Pool(images, labels, own, keys, np.concatenate(triplets))


class Pools:
    """The pools of all passes, each with a generator for its random choices.

    A first pool that takes in all files is kept. Otherwise the files are read anew in every pass,
    in another order, so that other ones come together; when their images are decoded, all but
    these is kept.

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
        self._kept: dict[str, tuple[Pool, int]] = {}
        first, used = next(self._read_pass(np.random.default_rng(seed)))
        self.whole = first if used == len(self.files) else None

    def decode(self, transform_images: TransformImages, limits: CacheLimits) -> KeptPixels | None:
        """Decodes all images, if their pixels may be kept.

        Returns:
            The pixels, of which the pools name the rows from now on; or None.
        """
        if not limits.most:
            return None
        some = self.whole or read_file(self.files[0])
        shape = transform_images(tf.constant(some.images[:1])).shape[1:]
        most = limits.most // (4 * math.prod(shape))
        kept = {} if self.whole else self._without_images(most)
        parts = [self.whole.images] if self.whole else (read_file(path).images for path in kept)
        counted = [self.whole] if self.whole else [pool for pool, _ in kept.values()]
        count = sum(len(pool.labels) for pool in counted)
        pixels = keep_pixels(parts, (count, *shape), transform_images, limits)
        if pixels is not None:
            self._kept = kept
            self.whole = self.whole and self.whole._replace(images=np.arange(count))
        return pixels

    def _without_images(self, most: int) -> dict[str, tuple[Pool, int]]:
        """Each file's pool with row numbers for images, and the bytes of these; up to `most`."""
        found = {}
        rows = 0
        for path in self.files:
            pool, size = self._read(path)
            found[path] = pool._replace(images=np.arange(rows, rows + len(pool.labels))), size
            rows += len(pool.labels)
            if rows > most:  # however many there are
                break
        return found

    def _read(self, path: str) -> tuple[Pool, int]:
        """The pool of a file, and how many bytes its encoded images take."""
        if path in self._kept:
            return self._kept[path]
        pool = read_file(path)
        return pool, sum(map(len, pool.images.tolist()))

    def __iter__(self) -> Iterator[Iterator[tuple[Pool, np.random.Generator]]]:
        """Yields passes without end; a pass yields pools."""
        rng = np.random.default_rng(self._seed)
        while True:
            if self.whole:
                yield iter([(self.whole, rng)])
            else:
                yield ((pool, rng) for pool, _ in self._read_pass(rng))

    def _read_pass(self, rng: np.random.Generator) -> Iterator[tuple[Pool, int]]:
        """Reads every file once; yields pools and the number of files in each."""
        order = [self.files[i] for i in rng.permutation(len(self.files))]
        parts: list[Pool] = []
        size = 0
        for position, path in enumerate(order):
            pool, more = self._read(path)
            parts.append(pool)
            size += more
            if size >= self._limit or position + 1 == len(order):
                yield join(parts), len(parts)
                parts, size = [], 0


def batches_of(
    pools: Pools,
    deal: Deal,
    transform_images: TransformImages,
    *,
    skip: int = 0,
    cache: CacheLimits = NO_CACHE,
    beside: LookUp | None = None,
    share: Share | None = None,
    nothing: str = "",
) -> tf.data.Dataset:
    """The batches that `deal` makes of each pool, decoded.

    Args:
        pools: See there.
        deal: Rows of every batch of a pool.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache: Decode only once if the pixels of all images take no more.
        beside: Looks up what else there is of each image.
        share: Gives these parts of each batch, one after the other, instead of the batch.
        nothing: The message of the error when a whole pass makes no batch.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]), see `fingerprint`,
        and with `beside` what that gives.

    Raises:
        ValueError: While it is read: a whole pass makes no batch. If there is one pool, before.
    """
    if pools.whole and next(deal(pools.whole, np.random.default_rng(0)), None) is None:
        raise ValueError(nothing)
    pixels = pools.decode(transform_images, cache)

    def batches() -> Iterator[tuple[Pool, np.ndarray]]:
        to_skip = skip
        for one_pass in pools:
            empty = True
            for pool, rng in one_pass:
                for rows in deal(pool, rng):
                    empty = False
                    if to_skip:
                        to_skip -= 1
                    elif share is None:
                        yield pool, rows
                    else:
                        for part in share.of(rows):
                            yield pool, part
            if empty:
                raise ValueError(nothing)

    # Where pixels are kept only rows come from Python: to copy pixels there would hold up the
    # training step.
    kind = tf.string if pixels is None else tf.int64
    dataset = tf.data.Dataset.from_generator(
        lambda: (
            (pool.images[rows], pool.labels[rows], pool.keys[rows]) for pool, rows in batches()
        ),
        output_signature=(
            tf.TensorSpec([None], kind), *[tf.TensorSpec([None], tf.int64)] * 2
        ),
    )  # fmt: skip

    def finish(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor) -> tuple[tf.Tensor, ...]:
        taken = transform_images(images) if pixels is None else pixels.take(images)
        return (taken, labels) if beside is None else (taken, labels, beside(keys))

    if pixels is not None:
        dataset = dataset.map(finish)
    else:
        dataset = dataset.map(finish, num_parallel_calls=os.cpu_count(), deterministic=True)
    return without_autotune(dataset.prefetch(BATCHES_AHEAD))
