"""Batches made of triplets: the triplets themselves, or their images with their neighbours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.batches import CacheLimits, Share
from modules.batches.of_classes import class_batches
from modules.batches.of_triplets import neighbour_batches, triplet_batches, walk
from modules.images import decode_images
from modules.settings import ImageSettings
from tests.modules.batches.triplet_files import digit_shards, take, write_shards
from tests.real_data import digits

COUNT = 180  # digits; each is the anchor of one triplet
PIXELS = COUNT * 28 * 28 * 4  # bytes
LABEL_OF = {
    decode_images(tf.constant([image]), ImageSettings()).numpy().tobytes(): label
    for image, label, _ in digits(18)
}
BOTH = pytest.mark.parametrize("batches", [triplet_batches, neighbour_batches])


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return decode_images(encoded, ImageSettings())


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[str]:
    return digit_shards(tmp_path_factory.mktemp("shards"))


def all_bytes(batches: list[tuple[np.ndarray, np.ndarray]]) -> list[bytes]:
    return [image.tobytes() for images, _ in batches for image in images]


def anchors(batches: list[tuple[np.ndarray, np.ndarray]]) -> list[bytes]:
    return [image.tobytes() for images, _ in batches for image in images[: len(images) // 3]]


def check_labels(images: np.ndarray, codes: np.ndarray) -> np.ndarray:
    labels = np.array([LABEL_OF[image.tobytes()] for image in images])
    np.testing.assert_array_equal(
        labels[:, None] == labels[None, :], codes[:, None] == codes[None, :]
    )
    return labels


@pytest.mark.parametrize("options", [{}, {"cache": CacheLimits(2**20)}, {"pool_bytes": 1}])
def test_rows_are_anchors_positives_and_negatives_with_their_classes(shards, options) -> None:
    batches = take(triplet_batches(shards, pixels, 30, seed=0, **options), 12)
    for images, codes in batches:
        anchor, positive, negative = np.split(check_labels(images, codes), 3)
        assert (anchor == positive).all()
        assert (anchor != negative).all()
    # Two passes, each triplet once in both, in another order.
    first, second = anchors(batches[:6]), anchors(batches[6:])
    assert sorted(first) == sorted(second) == sorted(LABEL_OF)
    assert first != second


@pytest.mark.parametrize("options", [{}, {"cache": CacheLimits(2**20)}, {"pool_bytes": 1}])
def test_neighbours_are_different_rows_and_all_of_them_come(shards, options) -> None:
    """In each file ten classes in a ring: each digit is the negative of one of the class before."""
    dataset = neighbour_batches(shards, pixels, 60, seed=0, **options)
    seen: Counter[bytes] = Counter()
    for images, codes in take(dataset, 12):
        check_labels(images, codes)
        rows = [image.tobytes() for image in images]
        assert len(set(rows)) == len(rows) <= 60
        seen.update(rows)
    assert set(seen) == set(LABEL_OF)


@BOTH
@pytest.mark.parametrize("options", [{}, {"cache": CacheLimits(2**20)}, {"pool_bytes": 1}])
def test_the_seed_alone_decides_and_a_training_goes_on_where_it_was(
    shards, batches, options
) -> None:
    def images(seed: int, skip: int, count: int) -> list[list[bytes]]:
        dataset = batches(shards, pixels, 40, seed, skip=skip, **options)
        return [all_bytes([batch]) for batch in take(dataset, count)]

    whole = images(1, 0, 9)  # more than a pass
    assert whole == images(1, 0, 9)
    assert whole != images(2, 0, 9)
    assert whole[7:] == images(1, 7, 2)


@BOTH
def test_images_are_decoded_once_where_they_fit(shards, batches) -> None:
    decoded = []

    def counting(encoded: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: decoded.append(int(count)), [tf.size(encoded)], [])
        return pixels(encoded)

    def run(cache: int) -> tuple[list[bytes], int]:
        decoded.clear()
        found = all_bytes(take(batches(shards, counting, 30, 0, cache=CacheLimits(cache)), 12))
        return found, sum(decoded)

    kept, once = run(PIXELS)
    assert once == COUNT + 1  # one more to learn the shape
    again, more = run(PIXELS - 1)
    assert more >= len(again)
    assert kept == again


def test_replicas_get_equal_shares(shards) -> None:
    whole = take(neighbour_batches(shards, pixels, 40, seed=0), 9)
    shares = take(neighbour_batches(shards, pixels, 40, seed=0, multiple=7), 9)
    for (images, codes), (some, some_codes) in zip(whole, shares, strict=True):
        count = len(images) // 7 * 7
        np.testing.assert_array_equal(images[:count], some)
        np.testing.assert_array_equal(codes[:count], some_codes)


@pytest.mark.parametrize(
    ("batches", "options"),
    [
        (triplet_batches, {"count": 16}),
        (neighbour_batches, {"size": 40, "multiple": 4}),
        (class_batches, {"classes_per_batch": 9, "images_per_class": 4, "multiple": 4}),
    ],
)
def test_the_shares_of_two_machines_are_the_batch(shards, batches, options) -> None:
    """Each has two of four replicas."""
    whole = take(batches(shards, pixels, seed=0, skip=1, **options), 5)
    parts = [
        take(batches(shards, pixels, seed=0, skip=1, share=Share(4, own), **options), 10)
        for own in (range(2), range(2, 4))
    ]
    for number, batch in enumerate(whole):
        of_batch = [part for own in parts for part in own[2 * number : 2 * number + 2]]
        assert len({len(images) for images, _ in of_batch}) == 1
        for column in (0, 1):
            together = np.concatenate([part[column] for part in of_batch])
            np.testing.assert_array_equal(together, batch[column])


@BOTH
def test_without_triplets_there_is_nothing_to_learn(tmp_path: Path, batches) -> None:
    pattern = write_shards(tmp_path, [[], []], digits(1))
    with pytest.raises(ValueError, match="no triplets in"):
        batches(pattern, pixels, 2, 0)
    with pytest.raises(tf.errors.OpError, match="no triplets in"):
        take(batches(pattern, pixels, 2, 0, pool_bytes=1), 1)


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=15),
    turns=st.integers(1, 20),
    size=st.integers(3, 60),
    seed=st.integers(0, 2**32),
)
def test_walk_keeps_its_promises(sizes: list[int], turns: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    triplets = np.array(
        [
            (a, rng.choice(same[same != a]), rng.choice(np.flatnonzero(labels != labels[a])))
            for a in range(len(labels))
            if len(same := np.flatnonzero(labels == labels[a])) > 1
            for _ in range(turns)
        ],
        np.int32,
    ).reshape(-1, 3)
    batches = [set(rows.tolist()) for rows in walk(triplets, labels, size, rng)]
    whole = list(walk(triplets, labels, size, np.random.default_rng(seed)))
    for rows in whole:
        assert len(set(rows.tolist())) == len(rows)
        # One anchor has 8 positives and 8 negatives at most in one batch.
        assert len(rows) <= max(size, 17)
    missing = [t for t in triplets.tolist() if not any(batch.issuperset(t) for batch in batches)]
    # Only a last batch that is less than half full is left out, never all of them.
    assert len({row for triplet in missing for row in triplet}) < max(size / 2, 1)
    assert bool(batches) == bool(len(triplets))


def test_walk_brings_the_classes_together_that_negatives_connect() -> None:
    """100 classes of 4 in pairs of twins: each negative is of the twin. Twins are never parted.

    A twin of the last anchor of a batch, or one whose anchors are used up, may have fewer images.
    """
    sizes: Counter[int] = Counter()
    labels = np.repeat(np.arange(100), 4)
    rng = np.random.default_rng(0)
    triplets = np.array(
        [
            (a, 4 * c + (a + turn + 1) % 4, 4 * (c ^ 1) + rng.integers(4))
            for a, c in enumerate(labels)
            for turn in range(3)
        ]
    )
    for rows in walk(triplets, labels, 80, rng):
        classes = set(labels[rows].tolist())
        assert classes == {c ^ 1 for c in classes}
        sizes.update(Counter(labels[rows].tolist()).values())
    assert sizes[4] > 0.85 * sizes.total()


def test_walk_fills_every_batch_to_one_size() -> None:
    """Of 50 classes of 8 each row has a second one: only the last batch may be smaller."""
    labels = np.repeat(np.arange(50), 8)
    rng = np.random.default_rng(0)
    triplets = np.array(
        [
            (a, 8 * c + (a + 1 + turn) % 8, (a + 8 * rng.integers(1, 50)) % 400)
            for a, c in enumerate(labels)
            for turn in range(3)
        ]
    )
    assert (labels[triplets[:, 0]] == labels[triplets[:, 1]]).all()
    assert (labels[triplets[:, 0]] != labels[triplets[:, 2]]).all()
    sizes = [len(rows) for rows in walk(triplets, labels, 90, rng)]
    assert len(sizes) > 10
    assert set(sizes[:-1]) == {90}
