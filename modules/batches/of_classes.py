"""Training batches of P classes with K images each, for mining inside the batch.

Hermans et al. 2017 (arXiv:1703.07737) call them PK batches. They are built from the files of
TripletGen. A file holds a few thousand examples, several of each of its classes. The images of some
files make a pool in memory, and the batches of a pool are dealt like cards.
"""

from __future__ import annotations

import math
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
from modules.storage import without_autotune

# Encoded bytes after which a pool takes in no further file.
POOL_BYTES = 256 * 2**20


class Pool(NamedTuple):
    """Images that batches are made of.

    `images` are encoded, object [N] of bytes, or none where their pixels are kept elsewhere;
    `codes`, int32 [N], number the classes of the pool from 0.
    """

    images: np.ndarray
    codes: np.ndarray


def class_batches(
    file_patterns: Sequence[str],
    transform_images: TransformImages,
    classes_per_batch: int,
    images_per_class: int,
    seed: int,
    *,
    skip: int = 0,
    cache_bytes: int = 0,
    pool_bytes: int = POOL_BYTES,
    multiple: int = 1,
) -> tf.data.Dataset:
    """Reads labelled images for training, several of each class in every batch.

    In a pass over the files every image is used once, but for those alone in their class within
    their pool and for one image of a class whose size leaves a remainder of 1 when divided by K;
    the next pass leaves out another one. The same arguments give the same batches.

    Memory: the encoded images of a pool, that is `pool_bytes` and one file, or all decoded ones if
    they are cached.

    Args:
        file_patterns: Globs of uncompressed TFRecord files with triplets of the contract.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        classes_per_batch: P, see `deal`.
        images_per_class: K, see `deal`.
        seed: Of the order, which is anew in every pass.
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache_bytes: Decode only once if all images are in one pool and their pixels take at most
            this much memory.
        pool_bytes: Encoded bytes after which a pool takes in no further file.
        multiple: Leaves out so many images of each batch that this divides their number.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int32 [N]) with N ≤ P·K. Labels
        are numbers that are valid in the batch.

    Raises:
        ValueError: No file matches, no class has two images, or (when it comes) a batch has fewer
            images than `multiple`.
    """
    pools = _Pools(triplet_files(file_patterns), seed, pool_bytes)
    pixels = pools.decode(transform_images, cache_bytes)

    def batches() -> Iterator[tuple[Pool, np.ndarray]]:
        to_skip = skip
        for pool, rng in pools:
            for rows in deal(pool.codes, classes_per_batch, images_per_class, rng):
                if to_skip:
                    to_skip -= 1
                    continue
                if len(rows) < multiple:
                    raise ValueError(
                        f"A batch has {len(rows)} images, too few for {multiple} replicas. Set "
                        "training.distribution = 'one', or raise training.classes_per_batch."
                    )
                yield pool, rows[: len(rows) - len(rows) % multiple]

    if pixels is not None:
        # Only rows come from Python: pixels copied there would hold up the training step.
        codes = tf.constant(pools.first.codes)
        dataset = tf.data.Dataset.from_generator(
            lambda: (rows for _, rows in batches()),
            output_signature=tf.TensorSpec([None], tf.int64),
        ).map(lambda rows: (tf.gather(pixels, rows), tf.gather(codes, rows)))
    else:
        dataset = tf.data.Dataset.from_generator(
            lambda: ((pool.images[rows], pool.codes[rows]) for pool, rows in batches()),
            output_signature=(tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)),
        ).map(
            lambda encoded, codes: (transform_images(encoded), codes),
            num_parallel_calls=os.cpu_count(),
            deterministic=True,
        )
    return without_autotune(dataset.prefetch(BATCHES_AHEAD))


def deal(
    codes: np.ndarray, classes_per_batch: int, images_per_class: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Deals rows to batches so that each batch holds several of each of its classes.

    The rows of a class are cut at random into groups of K, with a smaller one of at least 2 for the
    remainder. M groups make ⌈M / P⌉ batches of nearly equal numbers of groups, P at most. No batch
    holds two groups of a class unless the class has more groups than there are batches; then they
    are spread evenly.

    Args:
        codes: The class of each row, int [N], numbered from 0.
        classes_per_batch: P, the most groups in a batch.
        images_per_class: K, the most rows in a group, at least 2.
        rng: Source of all randomness.

    Returns:
        The rows of each batch. Rows alone in their class are in none.
    """
    if not len(codes):
        return []
    # Classes in random order, the rows of each in random order.
    order = rng.permutation(len(codes))
    classes = rng.permutation(codes.max() + 1)[codes[order]]
    by_class = np.argsort(classes, kind="stable")
    order, classes = order[by_class], classes[by_class]
    sizes = np.bincount(classes)
    place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[classes]
    group = place // images_per_class
    in_pair = sizes[classes] - group * images_per_class >= 2
    order, classes, group = order[in_pair], classes[in_pair], group[in_pair]
    if not len(order):
        return []
    # The groups of a class have consecutive numbers, so dealing them in turn parts them.
    begins = (np.diff(classes, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0)
    number = np.cumsum(begins) - 1
    batches = math.ceil((number[-1] + 1) / classes_per_batch)
    batch = rng.permutation(batches)[number % batches]
    by_batch = order[np.argsort(batch, kind="stable")]
    return np.split(by_batch, np.cumsum(np.bincount(batch))[:-1])


class _Pools:
    """The pools of all passes, each with a generator for its random choices.

    A first pool that takes in all files is kept. Otherwise the files are read anew in every pass,
    in another order, so that other ones come together.
    """

    def __init__(self, files: list[str], seed: int, limit: int) -> None:
        self._files, self._seed, self._limit = files, seed, limit
        read = self._read_pass(np.random.default_rng(seed))
        self.first, used = next(read)
        self._complete = used == len(files)
        if self._complete:
            next(read, None)  # runs its check

    def decode(self, transform_images: TransformImages, cache_bytes: int) -> tf.Tensor | None:
        """The pixels of all images, float32 [N, H, W, C], if they fit; the encoded ones go then."""
        if not self._complete or not cache_bytes:
            return None
        pixels = decode_if_fits(self.first.images, transform_images, cache_bytes)
        if pixels is None:
            return None
        self.first = self.first._replace(images=np.empty(0, object))
        return tf.constant(pixels)

    def __iter__(self) -> Iterator[tuple[Pool, np.random.Generator]]:
        rng = np.random.default_rng(self._seed)
        while True:
            if self._complete:
                yield self.first, rng
                continue
            for pool, _ in self._read_pass(rng):
                yield pool, rng

    def _read_pass(self, rng: np.random.Generator) -> Iterator[tuple[Pool, int]]:
        """Reads every file once; yields pools and the number of files in each."""
        order = [self._files[i] for i in rng.permutation(len(self._files))]
        found, used, paired = DistinctImages(), 0, False
        for position, path in enumerate(order):
            found.read(path)
            used += 1
            if found.size < self._limit and position + 1 < len(order):
                continue
            pool = Pool(*found.arrays())
            paired = paired or len(np.unique(pool.codes)) < len(pool.codes)
            yield pool, used
            found, used = DistinctImages(), 0
        if not paired:
            raise ValueError(
                f"No class has two images in the {len(order)} files of {order[0]}, so there is no "
                "positive to learn from. Did TripletGen write them?"
            )
