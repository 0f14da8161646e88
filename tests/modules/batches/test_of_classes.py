"""Batches of several images of each class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.batches import CacheLimits
from modules.batches.of_classes import class_batches, deal
from modules.images import decode_images
from modules.settings import ImageSettings
from tests.modules.batches.triplet_files import digit_shards, take, write_shards
from tests.real_data import digits

IDENTITY = tf.identity
LABEL_OF = {image: label for image, label, _ in digits(20)}


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=25),
    p=st.integers(2, 12),
    k=st.integers(2, 6),
    seed=st.integers(0, 2**32),
)
def test_deal_against_its_definition(sizes: list[int], p: int, k: int, seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    batches = deal(codes, p, k, np.random.default_rng(seed))
    # Chunks of each class: whole ones, and one for a remainder of 2 or more.
    groups = [size // k + (size % k > 1) for size in sizes]
    count = -(-sum(groups) // p)
    assert len(batches) == count
    dealt = Counter(row for batch in batches for row in batch)
    assert set(dealt.values()) <= {1}
    left_out = Counter(codes[row] for row in set(range(len(codes))) - set(dealt))
    assert left_out == Counter(c for c, size in enumerate(sizes) if size % k == 1)
    held = [Counter(codes[batch]) for batch in batches]
    # A class has at most one group smaller than K, so ⌈rows / K⌉ counts its groups in a batch.
    in_batch = [{c: -(-rows // k) for c, rows in batch.items()} for batch in held]
    assert all(rows > 1 for batch in held for rows in batch.values())
    if count:
        totals = [sum(batch.values()) for batch in in_batch]
        assert max(totals) <= p
        assert max(totals) - min(totals) <= 1
    for c, number in enumerate(groups):
        spread = [batch.get(c, 0) for batch in in_batch]
        assert sum(spread) == number
        assert max(spread, default=0) <= -(-number // max(count, 1))


def test_many_classes_meet_in_ever_new_company() -> None:
    """100 classes of 4: in each batch 10 different ones, other ones in the next pass."""
    codes, rng = np.repeat(np.arange(100), 4), np.random.default_rng(0)
    first, second = (deal(codes, 10, 4, rng) for _ in range(2))
    for batches in (first, second):
        assert [len(set(codes[batch])) for batch in batches] == [10] * 10
    assert {frozenset(codes[b]) for b in first}.isdisjoint({frozenset(codes[b]) for b in second})


def test_few_classes_come_several_times() -> None:
    """3 classes of 8 in batches of 6 groups of 4: all groups in one batch, two of each class."""
    [batch] = deal(np.repeat(np.arange(3), 8), 6, 4, np.random.default_rng(0))
    assert sorted(batch) == list(range(24))


@pytest.mark.parametrize("pool_bytes", [2**30, 1, 20_000])
def test_every_image_is_used_once_in_a_pass(tmp_path, pool_bytes: int) -> None:
    """All shards in one pool, one in each, two in each. 180 images, 45 batches of 2 · 2."""
    pattern = digit_shards(tmp_path)
    dataset = class_batches(pattern, IDENTITY, 2, 2, seed=0, pool_bytes=pool_bytes)
    passes = take(dataset, 90)
    first, second = (
        [i for images, _ in part for i in images] for part in (passes[:45], passes[45:])
    )
    assert sorted(first) == sorted(second) == sorted(i for i, _, _ in digits(18))
    assert first != second
    for images, codes in passes:
        labels = np.array([LABEL_OF[image] for image in images])
        np.testing.assert_array_equal(
            labels[:, None] == labels[None, :], codes[:, None] == codes[None, :]
        )
        assert sorted(Counter(codes).values()) == [2, 2]


@pytest.mark.parametrize("pool_bytes", [2**30, 1])
def test_batches_depend_on_the_seed_only_and_can_be_skipped(tmp_path, pool_bytes: int) -> None:
    pattern = digit_shards(tmp_path)

    def images(seed: int, skip: int, count: int) -> list[bytes]:
        dataset = class_batches(
            pattern, IDENTITY, 4, 3, seed=seed, skip=skip, pool_bytes=pool_bytes
        )
        return [image for images, _ in take(dataset, count) for image in images]

    # 15 batches of 12 in a pass: the skipped ones reach into the second pass.
    assert images(1, 0, 20)[17 * 12 :] == images(1, 17, 3)
    assert images(1, 0, 2) != images(2, 0, 2)


def test_cached_pixels_are_the_same_batches(tmp_path) -> None:
    pattern = digit_shards(tmp_path)
    calls = []

    def pixels(encoded: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: calls.append(int(count)), [tf.size(encoded)], [])
        return decode_images(encoded, ImageSettings())

    def run(cache_bytes: int) -> tuple[list, int]:
        calls.clear()
        batches = take(class_batches(pattern, pixels, 4, 3, 0, cache=CacheLimits(cache_bytes)), 30)
        return batches, sum(calls)

    size = 180 * 28 * 28 * 4
    kept, decoded = run(size)
    assert decoded == 180 + 1  # each once, and one to learn their shape
    other, decoded_again = run(size - 1)
    assert decoded_again >= 30 * 12
    for (a, a_codes), (b, b_codes) in zip(kept, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a_codes, b_codes)


def test_images_alone_in_their_class_and_copies_are_left_out(tmp_path) -> None:
    """One image under two ids is two images; a copy has its place in another file."""
    [zero], [one] = digits(1, classes=[0]), digits(1, classes=[1])
    twin = (zero[0], zero[1], b"twin")
    copy = (one[0], one[1], b"copy")
    triplets = [[(zero, twin, one)] * 5 + [(twin, zero, one)] * 5]
    for number, marked in enumerate((1, 0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pattern = write_shards(folder, triplets, [copy], copy=marked)
        [(images, codes)] = take(class_batches(pattern, IDENTITY, 2, 2, 0), 1)
        assert sorted(images) == sorted([zero[0]] * 2 + [] * marked + [one[0]] * 2 * (1 - marked))
        assert len(set(codes)) == 2 - marked


@pytest.mark.parametrize("multiple", [2, 7])
def test_replicas_get_equal_shares(tmp_path, multiple: int) -> None:
    """Batches of 45: 44 or 42 of them, the same ones."""
    pattern = digit_shards(tmp_path)
    whole = take(class_batches(pattern, IDENTITY, 19, 3, seed=0), 9)
    shares = take(class_batches(pattern, IDENTITY, 19, 3, seed=0, multiple=multiple), 9)
    for (images, codes), (some, some_codes) in zip(whole, shares, strict=True):
        assert len(some) == 45 // multiple * multiple
        assert list(some) == list(images)[: len(some)]
        assert list(some_codes) == list(codes)[: len(some)]


def test_a_batch_too_small_for_the_replicas_is_an_error(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"4 images, too few for 5 replicas.*'one'"):
        class_batches(digit_shards(tmp_path), IDENTITY, 2, 2, seed=0, multiple=5)


def test_without_a_pair_there_is_nothing_to_learn(tmp_path) -> None:
    zero, one, two, three = digits(1, classes=[0, 1, 2, 3])
    pattern = write_shards(tmp_path, [[(zero, zero, one)], [(two, two, three)]])
    with pytest.raises(ValueError, match=r"No class has two images .*TripletGen"):
        class_batches(pattern, IDENTITY, 2, 2, 0)
    dataset = class_batches(pattern, IDENTITY, 2, 2, 0, pool_bytes=1)
    with pytest.raises(tf.errors.OpError, match="No class has two images"):
        take(dataset, 1)
