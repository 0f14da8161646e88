"""Training batches made of TripletGen's triplets: anchors with their positives and negatives.

Two kinds: `triplet_batches` are the triplets themselves, for `mining = "none"`.
`neighbour_batches` are the images of triplets that belong together, each once, for mining inside
the batch: TripletGen brings classes that are confused into one batch, the miner finds the hardest
pairs in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules.batches.of_classes import whole_shares
from modules.batches.pixel_cache import NO_CACHE, CacheLimits
from modules.batches.pools import POOL_BYTES, LookUp, Pool, Pools, Share, batches_of
from modules.batches.reading import TransformImages

# Triplets of one anchor that go together. An anchor of a rare class may have thousands; they are
# spread over the pass.
_TOGETHER = 8


def triplet_batches(
    file_patterns: Sequence[str],
    transform_images: TransformImages,
    count: int,
    seed: int,
    *,
    skip: int = 0,
    cache: CacheLimits = NO_CACHE,
    pool_bytes: int = POOL_BYTES,
    beside: LookUp | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Reads triplets for training in the row order that the losses expect.

    In a pass over the files every triplet comes once, but for the last few of a pool, which fill no
    batch; the next pass leaves out other ones. The same arguments give the same batches.

    Args:
        file_patterns: Globs of TripletGen's files.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        count: B, the triplets of a batch; all there are if a pool has fewer.
        seed: Of the order, which is anew in every pass.
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache: Decode only once if the pixels of all images take no more.
        pool_bytes: Encoded bytes after which a pool takes in no further file.
        beside: Looks up what else there is of each image; a third part of each batch.
        share: The parts of each batch that are wanted here, as batches of their own.

    Returns:
        An endless dataset of (pixels float32 [3·B, H, W, C], labels int64 [3·B]); rows are the B
        anchors, the B positives, the B negatives. Labels are fingerprints of the class names.

    Raises:
        ValueError: No file matches, or there are no triplets in them.
    """

    def batches(pool: Pool, rng: np.random.Generator) -> Iterator[np.ndarray]:
        order = rng.permutation(len(pool.triplets))
        size = min(count, max(1, len(order)))
        for start in range(0, len(order) - size + 1, size):
            yield pool.triplets[order[start : start + size]].T.ravel()

    pools = Pools(file_patterns, seed, pool_bytes)
    return batches_of(
        pools,
        batches,
        transform_images,
        skip=skip,
        cache=cache,
        beside=beside,
        share=share,
        nothing=_none(pools),
    )


def neighbour_batches(
    file_patterns: Sequence[str],
    transform_images: TransformImages,
    size: int,
    seed: int,
    *,
    skip: int = 0,
    cache: CacheLimits = NO_CACHE,
    pool_bytes: int = POOL_BYTES,
    multiple: int = 1,
    beside: LookUp | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Reads the images of triplets for training, those of related triplets together.

    In a pass over the files every triplet is in a batch once (see `walk` for the last ones of a
    pool). The same arguments give the same batches.

    Args:
        file_patterns: Globs of TripletGen's files.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        size: The most images in a batch.
        seed: Of the order, which is anew in every pass.
        skip: How many batches to leave out at the start, to go on where a training stopped.
        cache: Decode only once if the pixels of all images take no more.
        pool_bytes: Encoded bytes after which a pool takes in no further file.
        multiple: Leaves out so many images of each batch that this divides their number.
        beside: Looks up what else there is of each image; a third part of each batch.
        share: The parts of each batch that are wanted here, as batches of their own.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]) with N ≤ size. Labels
        are fingerprints of the class names.

    Raises:
        ValueError: No file matches, there are no triplets in them, or (when it comes) a batch has
            fewer images than `multiple`.
    """

    def batches(pool: Pool, rng: np.random.Generator) -> Iterator[np.ndarray]:
        for rows in walk(pool.triplets, pool.labels, size, rng):
            yield whole_shares(rows, multiple, "batch_size")

    pools = Pools(file_patterns, seed, pool_bytes)
    return batches_of(
        pools,
        batches,
        transform_images,
        skip=skip,
        cache=cache,
        beside=beside,
        share=share,
        nothing=_none(pools),
    )


def _none(pools: Pools) -> str:
    return f"There are no triplets in {pools.files[0]} and the files beside it."


def walk(
    triplets: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Deals triplets to batches of different rows, from anchor to negative to its negatives.

    A batch begins with an anchor drawn at random: it takes in the anchor, its positives and its
    negatives. Each negative is then an anchor itself, or if it was one, another image of its class;
    each class is followed once in a batch. When there is nothing to follow, the next anchor is
    drawn at random. So a class of the batch has an anchor and its positives, and the classes are
    those that TripletGen's negatives connect. What is left of the batch is filled with second
    images of its classes, as far as they have one: each other number of rows would cost the network
    a preparation of its own.

    Args:
        triplets: Row numbers of anchor, positive and negative, int [T, 3], ascending by anchor.
        labels: The class of each row, int [N].
        size: The most rows in a batch. More come if a single anchor has more.
        rng: Source of all randomness.

    Yields:
        The different rows of a batch, int64. Every triplet is in one batch as a whole, unless the
        last batch is less than half full and not the only one: its triplets are left out.
    """
    units = _units(triplets, rng)
    _, numbers = np.unique(labels, return_inverse=True)
    codes: list[int] = numbers.tolist()
    order = rng.permutation(len(units.anchors))
    anchors = np.array(units.anchors, np.int64)[order]
    of_row = _Stacks(order, anchors, len(codes))
    of_class = _Stacks(order, numbers[anchors], len(codes))
    all_units = _Stacks(order, np.zeros_like(order), 1)
    shuffled = rng.permutation(len(codes))
    members = _Stacks(shuffled, numbers[shuffled], len(codes))
    used = bytearray(len(order))
    batch = 1
    in_batch = [0] * len(codes)  # the last batch of each row
    followed = [0] * len(codes)  # the last batch that each class was followed in
    rows: list[int] = []
    to_follow: deque[int] = deque()

    def add(row: int) -> None:
        if in_batch[row] != batch:
            in_batch[row] = batch
            rows.append(row)

    def filled() -> np.ndarray:
        # The last negatives are the ones whose classes have most likely no second image.
        for row in rows[::-1]:
            if len(rows) >= size:
                break
            second = next((r for r in members.of(codes[row]) if in_batch[r] != batch), row)
            add(second)
        return np.array(rows)

    while True:
        unit = None
        while to_follow and unit is None:
            negative = to_follow.popleft()
            if followed[codes[negative]] != batch:
                unit = of_row.last_unused(negative, used)
                if unit is None:
                    unit = of_class.last_unused(codes[negative], used)
        if unit is None:
            unit = all_units.last_unused(0, used)
        if unit is None:
            break
        anchor, negatives = units.anchors[unit], units.negatives_of(unit)
        together = (anchor, *units.positives_of(unit), *negatives)
        new = len({row for row in together if in_batch[row] != batch})
        if rows and len(rows) + new > size:
            yield filled()
            batch += 1
            rows = []
            to_follow.clear()
        used[unit] = True
        followed[codes[anchor]] = batch
        for row in together:
            add(row)
        to_follow.extend(negatives)
    if rows and (batch == 1 or 2 * len(rows) >= size):
        yield filled()


class _Stacks:
    """Stacks of values by the number of their owner, without a list for each owner.

    Args:
        values: int [V]; of those with one owner the last is on top.
        owners: Of each value, int [V], from 0 to `count` - 1.
        count: How many owners there are.
    """

    def __init__(self, values: np.ndarray, owners: np.ndarray, count: int) -> None:
        self._values: list[int] = values[np.argsort(owners, kind="stable")].tolist()
        stops = np.cumsum(np.bincount(owners, minlength=count))
        self._starts: list[int] = [0, *stops[:-1].tolist()]
        self._stops: list[int] = stops.tolist()

    def of(self, owner: int) -> Iterator[int]:
        """What is on a stack, the lowest first."""
        return map(self._values.__getitem__, range(self._starts[owner], self._stops[owner]))

    def last_unused(self, owner: int, used: bytearray) -> int | None:
        """The highest value that is not marked as used; takes off those above."""
        start, stop = self._starts[owner], self._stops[owner]
        while stop > start and used[self._values[stop - 1]]:
            stop -= 1
        self._stops[owner] = stop
        return self._values[stop - 1] if stop > start else None


class _Units(NamedTuple):
    """Triplets of one anchor, at most 8, that go together.

    Attributes:
        anchors: The anchor of each unit.
        starts: Where its triplets start among all.
        stops: Where they end.
        positives: Of all triplets, those of a unit side by side.
        negatives: Likewise.
    """

    anchors: list[int]
    starts: list[int]
    stops: list[int]
    positives: list[int]
    negatives: list[int]

    def positives_of(self, unit: int) -> list[int]:
        return self.positives[self.starts[unit] : self.stops[unit]]

    def negatives_of(self, unit: int) -> list[int]:
        return self.negatives[self.starts[unit] : self.stops[unit]]


def _units(triplets: np.ndarray, rng: np.random.Generator) -> _Units:
    """Parts the triplets of each anchor, in random order, in units."""
    # In random order within the anchor.
    shuffled = triplets[np.lexsort((rng.random(len(triplets)), triplets[:, 0]))]
    first = np.flatnonzero(np.diff(shuffled[:, 0], prepend=-1))
    counts = np.diff(np.r_[first, len(shuffled)])
    place = np.arange(len(shuffled)) - np.repeat(first, counts)
    starts = np.flatnonzero(place % _TOGETHER == 0)
    stops = np.r_[starts, len(shuffled)][1:]
    anchors, positives, negatives = shuffled.T
    columns = (anchors[starts], starts, stops, positives, negatives)
    return _Units(*(column.tolist() for column in columns))
