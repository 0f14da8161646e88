"""Batches of explicit triplets, from memory or from the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from modules.batches.of_triplets import triplet_batches
from modules.images import decode_images
from modules.settings import ImageSettings
from tests.modules.batches.test_of_classes import digit_shards, take, write_shards
from tests.real_data import digits

COUNT = 180  # digits; each is the anchor of one triplet
PIXELS = COUNT * 28 * 28 * 4  # bytes
LABEL_OF = {
    decode_images(tf.constant([image]), ImageSettings()).numpy().tobytes(): label
    for image, label, _ in digits(18)
}


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return decode_images(encoded, ImageSettings())


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[str]:
    return digit_shards(tmp_path_factory.mktemp("shards"))


def anchors(batches: list[tuple[np.ndarray, np.ndarray]]) -> list[bytes]:
    return [image.tobytes() for images, _ in batches for image in images[: len(images) // 3]]


@pytest.mark.parametrize("cache", [0, 2**20])
def test_rows_are_anchors_positives_and_negatives_with_their_classes(shards, cache: int) -> None:
    dataset = triplet_batches(shards, pixels, 30, seed=0, cache_bytes=cache)
    batches = take(dataset, 12)
    for images, codes in batches:
        labels = np.array([LABEL_OF[image.tobytes()] for image in images])
        anchor, positive, negative = np.split(labels, 3)
        assert (anchor == positive).all()
        assert (anchor != negative).all()
        np.testing.assert_array_equal(
            labels[:, None] == labels[None, :], codes[:, None] == codes[None, :]
        )
    # Two passes, each triplet once in both, in another order.
    first, second = anchors(batches[:6]), anchors(batches[6:])
    assert sorted(first) == sorted(second) == sorted(LABEL_OF)
    assert first != second


@pytest.mark.parametrize("cache", [0, 2**20])
def test_the_seed_alone_decides_and_a_training_goes_on_where_it_was(shards, cache: int) -> None:
    def batches(seed: int, skip: int, count: int) -> list[bytes]:
        dataset = triplet_batches(shards, pixels, 40, seed, skip=skip, cache_bytes=cache)
        return anchors(take(dataset, count))

    whole = batches(1, 0, 9)  # a pass is 4.5 batches
    assert whole == batches(1, 0, 9)
    assert whole != batches(2, 0, 9)
    assert whole[7 * 40 :] == batches(1, 7, 2)


def test_images_are_decoded_once_where_they_fit(shards) -> None:
    decoded = []

    def counting(encoded: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: decoded.append(int(count)), [tf.size(encoded)], [])
        return pixels(encoded)

    def run(cache: int) -> int:
        decoded.clear()
        take(triplet_batches(shards, counting, 30, 0, cache_bytes=cache), 12)
        return sum(decoded)

    assert run(PIXELS) == COUNT + 1  # one more to learn the shape
    assert run(PIXELS - 1) >= 12 * 3 * 30


def test_shards_larger_than_the_cache_are_not_read_into_it(tmp_path: Path) -> None:
    """One digit in 200 triplets takes more as triplets than as pixels."""
    zero, one = digits(1, classes=[0, 1])
    pattern = write_shards(tmp_path, [[(zero, zero, one)] * 200])
    assert next(tmp_path.iterdir()).stat().st_size > 2 * 28 * 28 * 4
    decoded = []

    def counting(encoded: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: decoded.append(int(count)), [tf.size(encoded)], [])
        return pixels(encoded)

    take(triplet_batches(pattern, counting, 10, 0, cache_bytes=2 * 28 * 28 * 4), 1)
    assert set(decoded) == {30}


def test_without_triplets_there_is_nothing_to_learn(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [[]])
    with pytest.raises(ValueError, match="no triplets in"):
        triplet_batches(pattern, pixels, 2, 0, cache_bytes=2**20)
