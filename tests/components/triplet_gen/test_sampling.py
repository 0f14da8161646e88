"""The pure parts of TripletGen against brute force: sampling, buckets, serialisation."""

from __future__ import annotations

import hashlib
import itertools
import struct
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from components.triplet_gen.buckets import BucketPlan, derive_key, hash_ids
from components.triplet_gen.framing import frame
from components.triplet_gen.sampling import Classes, TripletIndices, draw_triplets, order_anchors
from components.triplet_gen.serialization import serialize_triplets
from modules.storage import write_file


def valid_triplets(codes, is_anchor) -> set[tuple[int, int, int]]:
    rows = range(len(codes))
    return {
        (a, p, n)
        for a, p, n in itertools.product(rows, rows, rows)
        if is_anchor[a] and p != a and codes[p] == codes[a] and codes[n] != codes[a]
    }


@st.composite
def buckets(draw):
    """Class codes with any gaps between them, and anchors that have a positive and a negative."""
    codes = draw(st.lists(st.integers(-3, 5), min_size=3, max_size=12))
    sizes = Counter(codes)
    allowed = [1 < sizes[code] < len(codes) for code in codes]
    chosen = [a and draw(st.booleans()) for a in allowed]
    return np.array(codes), np.array(chosen)


@settings(deadline=None, max_examples=200)
@given(buckets(), st.integers(1, 3), st.integers(0, 2**32))
def test_triplets_are_valid_and_repeat_major(bucket, triplets_per_anchor, seed):
    codes, is_anchor = bucket
    repeats = triplets_per_anchor * is_anchor
    found = draw_triplets(codes, repeats, np.random.default_rng(seed))
    assert found.anchor.tolist() == np.flatnonzero(is_anchor).tolist() * triplets_per_anchor
    triplets = set(zip(*(column.tolist() for column in found), strict=True))
    assert triplets <= valid_triplets(codes, is_anchor)


def test_every_valid_triplet_of_an_anchor_is_equally_likely():
    codes = np.array([7, 2, 7, 5, 2, 7, 5, 2, 7, 9])  # sizes 4, 3, 2 and a single 9
    is_anchor = np.array([True] * 8 + [False] * 2)
    draws = 20_000
    found = draw_triplets(codes, draws * is_anchor, np.random.default_rng(0))
    counts = Counter(zip(*(column.tolist() for column in found), strict=True))
    valid = valid_triplets(codes, is_anchor)
    assert set(counts) == valid
    for anchor in np.flatnonzero(is_anchor):
        observed = [counts[triplet] for triplet in valid if triplet[0] == anchor]
        assert sum(observed) == draws
        assert chisquare(observed).pvalue > 1e-4


@pytest.mark.parametrize(
    ("codes", "message"), [([1, 2, 2], "no positive"), ([1, 1, 1], "no negative")]
)
def test_impossible_anchors_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        draw_triplets(np.array(codes), np.array([1, 0, 0]), np.random.default_rng(0))
    assert not Classes(np.array(codes)).has_triplet()[0]


@settings(deadline=None, max_examples=100)
@given(buckets())
def test_rows_with_a_triplet(bucket):
    codes, _ = bucket
    anchors = {anchor for anchor, _, _ in valid_triplets(codes, np.ones(len(codes), bool))}
    assert set(np.flatnonzero(Classes(codes).has_triplet())) == anchors


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 40), max_size=20))
def test_repeats_of_an_anchor_are_spread_evenly(repeats):
    order = order_anchors(np.array(repeats, np.int64)).tolist()
    assert Counter(order) == {row: n for row, n in enumerate(repeats) if n}
    total = len(order)
    for row, n in enumerate(repeats):
        # In any beginning of the list, each row has its share, give or take one of every row.
        for stop in range(0, total, 7):
            share = n * stop / total
            assert abs(order[:stop].count(row) - share) <= 1 + n * len(repeats) / total


def blake(data: bytes, size: int, key: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def slow_bucket(example_id, label, counts, bucket_size, seed, split) -> int:
    key = blake(repr((seed, split, "examples")).encode(), 16, b"")
    _, block_hash = struct.unpack("<QQ", blake(example_id, 16, key))
    block = block_hash % max(1, counts[label] // 64)
    key = blake(repr((seed, split, "blocks")).encode(), 16, b"")
    total = sum(counts.values())
    buckets = total // bucket_size + (total % bucket_size > 0)
    return int.from_bytes(blake(b"%d:%b" % (block, label), 8, key), "big") % buckets


def expand(counts: dict[bytes, int]) -> tuple[list[bytes], np.ndarray, list[bytes]]:
    """Labels of so many examples, their numbers among the sorted labels, and ids."""
    labels = [label for label, n in counts.items() for _ in range(n)]
    codes = np.array([sorted(counts).index(label) for label in labels])
    return labels, codes, [b"%d" % i for i in range(len(labels))]


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.binary(max_size=4), st.integers(1, 300), min_size=1, max_size=5),
    st.integers(2, 400),
    st.integers(),
    st.text(max_size=5),
)
def test_buckets_as_the_slow_reference(counts, bucket_size, seed, split):
    plan = BucketPlan(counts, bucket_size, seed, split)
    labels, codes, ids = expand(counts)
    found, _ = plan.assign(codes, hash_ids(ids, seed, split))
    assert found.tolist() == [
        slow_bucket(i, label, counts, bucket_size, seed, split)
        for i, label in zip(ids, labels, strict=True)
    ]
    for label, n in counts.items():
        if n < 2 * 64:  # one block
            assert len({b for b, name in zip(found, labels, strict=True) if name == label}) == 1


def reserve_of(counts: dict[bytes, int]) -> Counter[bytes]:
    plan = BucketPlan(counts, 64, 0, "train")
    labels, codes, ids = expand(counts)
    _, chosen = plan.assign(codes, hash_ids(ids, 0, "train"))
    return Counter(label for label, c in zip(labels, chosen, strict=True) if c)


def test_reserve_is_everything_of_a_small_split():
    counts = {b"a": 128, b"b": 100, b"c": 100, b"d": 56}  # others: 256
    assert reserve_of(counts) == counts


def test_reserve_of_a_large_split_has_the_expected_size():
    reserve = reserve_of({b"a": 20_000, b"b": 9_000, b"c": 3_000})
    # Binomial with small probability: the deviation is about the root of the mean.
    assert abs(reserve[b"a"] - 128) < 4 * 128**0.5
    assert abs(reserve[b"b"] - 256 * 9_000 / 12_000) < 4 * 192**0.5
    assert abs(reserve[b"c"] - 256 * 3_000 / 12_000) < 4 * 64**0.5


def test_keys_differ_by_seed_and_by_purpose():
    keys = [derive_key(0, "a"), derive_key(1, "a"), derive_key(0, "b"), derive_key(0, "a", 0)]
    assert len({*keys}) == 4
    assert all(len(key) == 16 for key in keys)
    assert keys[0] == derive_key(0, "a")


def plain_triplet(rows, triplet) -> tf.train.Example:
    """A triplet as one would build it with the protobuf classes."""
    example = tf.train.Example()
    for role, row in zip(("anchor", "positive", "negative"), triplet, strict=True):
        for name, value in zip(("label", "id", "image"), rows[row], strict=True):
            example.features.feature[f"{role}/{name}"].bytes_list.value.append(value)
    return example


def check_records(rows, triplets):
    columns = TripletIndices(*(np.array(column) for column in zip(*triplets, strict=True)))
    records = list(serialize_triplets(*zip(*rows, strict=True), columns))
    assert len(records) == len(triplets)
    for record, triplet in zip(records, triplets, strict=True):
        expected = plain_triplet(rows, triplet)
        assert tf.train.Example.FromString(record) == expected
        assert len(record) == expected.ByteSize()  # so no byte is superfluous


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(*[st.binary(max_size=200)] * 3), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=4),
)
def test_records_are_what_protobuf_makes(rows, picks):
    check_records(rows, [tuple(i % len(rows) for i in pick) for pick in picks])


def test_records_at_sizes_where_a_length_grows_by_a_byte():
    # Every size near 2^7 and 2^14 makes some of the five nested lengths one byte longer.
    sizes = [*range(100, 135), *range(16_340, 16_390), 2**21]
    rows = [(b"label", b"id-%d" % size, bytes(size)) for size in sizes]
    check_records(rows, [(i, i, i - 1) for i in range(len(rows))])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=600))
def test_shards_are_what_tensorflow_writes(records):
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = Path(folder, "plain"), Path(folder, "ours")
        with tf.io.TFRecordWriter(str(plain)) as writer:
            for record in records:
                writer.write(record)
        write_file(str(ours), frame(iter(records)), temp_dir=folder)
        assert ours.read_bytes() == plain.read_bytes()
        assert sorted(Path(folder).iterdir()) == [ours, plain]
