"""Training batches of P classes with K images each, for mining inside the batch.

Hermans et al. 2017 (arXiv:1703.07737) call them PK batches. The triplets of TripletGen play no part
in them. The batches of a pool are dealt like cards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from modules.batches.pixel_cache import NO_CACHE, CacheLimits
from modules.batches.pools import POOL_BYTES, LookUp, Pool, Pools, Share, batches_of
from modules.batches.reading import TransformImages


def class_batches(
    file_patterns: Sequence[str],
    transform_images: TransformImages,
    classes_per_batch: int,
    images_per_class: int,
    seed: int,
    *,
    skip: int = 0,
    cache: CacheLimits = NO_CACHE,
    pool_bytes: int = POOL_BYTES,
    multiple: int = 1,
    beside: LookUp | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Reads labelled images for training, several of each class in every batch.

    In a pass over the files every image is used once, but for those alone in their class within
    their pool and for one image of a class whose size leaves a remainder of 1 when divided by K;
    the next pass leaves out another one. The same arguments give the same batches.

    Memory: the encoded images of a pool, that is `pool_bytes` and one file, or all decoded ones if
    they are cached.

    Args:
        file_patterns: Globs of TripletGen's files.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        classes_per_batch: P, see `deal`.
        images_per_class: K, see `deal`.
        seed: Of the order, which is anew in every pass.
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache: Decode only once if the pixels of all images take no more.
        pool_bytes: Encoded bytes after which a pool takes in no further file.
        multiple: Leaves out so many images of each batch that this divides their number.
        beside: Looks up what else there is of each image; a third part of each batch.
        share: The parts of each batch that are wanted here, as batches of their own.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]) with N ≤ P·K. Labels
        are fingerprints of the class names.

    Raises:
        ValueError: No file matches, no class has two images, or (when it comes) a batch has fewer
            images than `multiple`.
    """

    def batches(pool: Pool, rng: np.random.Generator) -> Iterator[np.ndarray]:
        [own] = np.nonzero(pool.own)
        _, codes = np.unique(pool.labels[own], return_inverse=True)
        for rows in deal(codes, classes_per_batch, images_per_class, rng):
            yield own[whole_shares(rows, multiple, "classes_per_batch")]

    pools = Pools(file_patterns, seed, pool_bytes)
    nothing = (
        f"No class has two images in the {len(pools.files)} files of {pools.files[0]}, so there is "
        "no positive to learn from. Did TripletGen write them?"
    )
    return batches_of(
        pools, batches, transform_images,
        skip=skip, cache=cache, beside=beside, share=share, nothing=nothing,
    )  # fmt: skip


def whole_shares(rows: np.ndarray, multiple: int, key: str) -> np.ndarray:
    """The rows of a batch without the last ones that replicas cannot share equally.

    Args:
        rows: Of a batch, [N].
        multiple: The number of replicas.
        key: The setting that makes batches larger, for the message.

    Raises:
        ValueError: There are fewer rows than replicas.
    """
    if len(rows) < multiple:
        raise ValueError(
            f"A batch has {len(rows)} images, too few for {multiple} replicas. Set "
            f"training.distribution = 'one', or raise training.{key}."
        )
    return rows[: len(rows) - len(rows) % multiple]


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
