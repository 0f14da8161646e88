"""Training batches of P classes with K images each, for mining inside the batch.

Hermans et al. 2017 (arXiv:1703.07737) call them PK batches. They are built from the shards of
TripletGen. A shard holds a few thousand examples, several of each of its classes; a few shards at a
time make a pool in memory, and the batches of a pool are dealt like cards.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.contract import ID, IMAGE, LABEL, ROLES
from modules.input_data import BATCHES_AHEAD, string_features, triplet_files, without_autotune

# Encoded bytes after which a pool takes in no further shard.
POOL_BYTES = 256 * 2**20
_PARSED_AT_ONCE = 1024
_DECODED_AT_ONCE = 256


class Pool(NamedTuple):
    """Images that batches are made of.

    `images` are encoded, object [N] of bytes, or decoded, float32 [N, H, W, C]; `codes`, int32 [N],
    number the classes of the pool from 0.
    """

    images: np.ndarray
    codes: np.ndarray


def class_batches(
    file_patterns: Sequence[str],
    transform_images: Callable[[tf.Tensor], tf.Tensor],
    classes_per_batch: int,
    images_per_class: int,
    seed: int,
    *,
    skip: int = 0,
    cache_bytes: int = 0,
    pool_bytes: int = POOL_BYTES,
) -> tf.data.Dataset:
    """Reads labelled images for training, several of each class in every batch.

    In a pass over the shards every image is used once, but for those alone in their class within
    their pool and for one image of a class whose size leaves a remainder of 1 when divided by K;
    the next pass leaves out another one. The same arguments give the same batches.

    Memory: the encoded images of a pool, that is `pool_bytes` and one shard, or all decoded ones if
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
        pool_bytes: Encoded bytes after which a pool takes in no further shard.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int32 [N]) with N ≤ P·K. Labels
        are numbers that are valid in the batch.

    Raises:
        ValueError: No file matches, or no class has two images.
    """
    pools = _Pools(triplet_files(file_patterns), seed, pool_bytes)
    decoded = pools.decode(transform_images, cache_bytes)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        to_skip = skip
        for pool, rng in pools:
            for rows in deal(pool.codes, classes_per_batch, images_per_class, rng):
                if to_skip:
                    to_skip -= 1
                else:
                    yield pool.images[rows], pool.codes[rows]

    images = pools.first.images
    spec = tf.TensorSpec([None, *images.shape[1:]], tf.float32 if decoded else tf.string)
    dataset = tf.data.Dataset.from_generator(
        batches, output_signature=(spec, tf.TensorSpec([None], tf.int32))
    )
    if not decoded:
        dataset = dataset.map(
            lambda encoded, codes: (transform_images(encoded), codes),
            num_parallel_calls=os.cpu_count(),
            deterministic=True,
        )
    return without_autotune(dataset.prefetch(BATCHES_AHEAD))


def deal(
    codes: np.ndarray, classes_per_batch: int, images_per_class: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Deals rows to batches so that each batch holds several of each of its classes.

    The rows of a class are cut at random into chunks of K, with a smaller one of at least 2 for the
    remainder. M chunks make ⌈M / P⌉ batches of nearly equal numbers of chunks, P at most. No batch
    holds two chunks of a class unless the class has more chunks than there are batches; then they
    are spread evenly.

    Args:
        codes: The class of each row, int [N], numbered from 0.
        classes_per_batch: P, the most chunks in a batch.
        images_per_class: K, the most rows in a chunk, at least 2.
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
    chunk = place // images_per_class
    in_pair = sizes[classes] - chunk * images_per_class >= 2
    order, classes, chunk = order[in_pair], classes[in_pair], chunk[in_pair]
    if not len(order):
        return []
    # The chunks of a class have consecutive numbers, so dealing them in turn parts them.
    begins = (np.diff(classes, prepend=-1) != 0) | (np.diff(chunk, prepend=-1) != 0)
    number = np.cumsum(begins) - 1
    batches = math.ceil((number[-1] + 1) / classes_per_batch)
    batch = rng.permutation(batches)[number % batches]
    by_batch = order[np.argsort(batch, kind="stable")]
    return np.split(by_batch, np.cumsum(np.bincount(batch))[:-1])


class _Pools:
    """The pools of all passes, each with a generator for its random choices.

    If the first pool takes in all shards it is kept; else the shards are read anew in every pass,
    in another order, so that other ones come together.
    """

    def __init__(self, files: list[str], seed: int, limit: int) -> None:
        self._files, self._seed, self._limit = files, seed, limit
        read = self._read_pass(np.random.default_rng(seed))
        self.first, used = next(read)
        self._complete = used == len(files)
        if self._complete:
            next(read, None)  # runs its check

    def decode(self, transform_images: Callable[[tf.Tensor], tf.Tensor], cache_bytes: int) -> bool:
        """Decodes the images for good; returns whether they fit."""
        if not self._complete or not cache_bytes:
            return False
        images = self.first.images
        shape = transform_images(tf.constant(images[:1])).shape[1:]
        if len(images) * math.prod(shape) * 4 > cache_bytes:
            return False
        pixels = np.empty([len(images), *shape], np.float32)
        encoded = tf.data.Dataset.from_tensor_slices(tf.constant(images)).batch(_DECODED_AT_ONCE)
        decoded = encoded.map(transform_images, num_parallel_calls=os.cpu_count())
        start = 0
        for part in without_autotune(decoded):
            pixels[start : start + len(part)] = part
            start += len(part)
        self.first = self.first._replace(images=pixels)
        return True

    def __iter__(self) -> Iterator[tuple[Pool, np.random.Generator]]:
        rng = np.random.default_rng(self._seed)
        while True:
            if self._complete:
                yield self.first, rng
                continue
            for pool, _ in self._read_pass(rng):
                yield pool, rng

    def _read_pass(self, rng: np.random.Generator) -> Iterator[tuple[Pool, int]]:
        """Reads every shard once; yields pools and the number of shards in each."""
        order = [self._files[i] for i in rng.permutation(len(self._files))]
        found: dict[bytes, tuple[bytes, bytes]] = {}
        used, paired, size = 0, False, 0
        for position, path in enumerate(order):
            size += _read_shard(path, found)
            used += 1
            if size < self._limit and position + 1 < len(order):
                continue
            images, labels = zip(*found.values(), strict=True) if found else ((), ())
            _, codes = np.unique(np.array(labels, object), return_inverse=True)
            paired = paired or len(np.unique(codes)) < len(codes)
            yield Pool(_objects(images), codes.astype(np.int32)), used
            found, used, size = {}, 0, 0
        if not paired:
            raise ValueError(
                f"No class has two images in the {len(order)} shards of {order[0]}, so there is no "
                "positive to learn from. Did TripletGen write them?"
            )


def _read_shard(path: str, found: dict[bytes, tuple[bytes, bytes]]) -> int:
    """Adds the (image, label) of ids not found yet; returns the bytes of their images."""
    features = string_features(ROLES, (IMAGE, LABEL, ID))
    size = 0
    for serialized in tf.data.TFRecordDataset(path).batch(_PARSED_AT_ONCE):
        parsed = tf.io.parse_example(serialized, features)
        for role in ROLES:
            ids = parsed[f"{role}/{ID}"].numpy()
            # Most ids have been seen: only the images of new ones are copied out of TensorFlow.
            new = [row for row, example_id in enumerate(ids) if example_id not in found]
            images, labels = (
                tf.gather(parsed[f"{role}/{name}"], tf.constant(new, tf.int32)).numpy()
                for name in (IMAGE, LABEL)
            )
            for row, image, label in zip(new, images, labels, strict=True):
                if ids[row] not in found:
                    found[ids[row]] = image, label
                    size += len(image)
    return size


def _objects(values: Sequence[bytes]) -> np.ndarray:
    """An array of bytes objects; numpy's own bytes type would cut trailing zero bytes off."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
