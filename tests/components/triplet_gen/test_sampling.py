"""The pure parts of TripletGen against brute force: sampling, buckets, records."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from scipy.stats import chisquare

from components.triplet_gen.buckets import BucketPlan
from components.triplet_gen.hashes import derive_key, hash_ids
from components.triplet_gen.records import make_records, write_records
from components.triplet_gen.rows import Rows, as_column
from components.triplet_gen.sampling import TripletIndices, draw_triplets, have_triplets
from modules.contract import make_example


def valid_triplets(codes, is_anchor) -> set[tuple[int, int, int]]:
    """Of the first rows some are anchors; they are all the candidates for positives."""
    own, rows = range(len(is_anchor)), range(len(codes))
    return {
        (a, p, n)
        for a, p, n in itertools.product(own, own, rows)
        if is_anchor[a] and p != a and codes[p] == codes[a] and codes[n] != codes[a]
    }


@st.composite
def buckets(draw):
    """Class codes with any gaps between them, and anchors that have a positive and a negative."""
    codes = draw(st.lists(st.integers(-3, 5), min_size=3, max_size=12))
    own = draw(st.integers(1, len(codes)))
    sizes = Counter(codes[:own])
    allowed = [sizes[code] > 1 and set(codes) != {code} for code in codes[:own]]
    chosen = [a and draw(st.booleans()) for a in allowed]
    return np.array(codes), np.array(chosen)


def of_anchor(found: TripletIndices) -> dict[int, list[tuple[int, int]]]:
    pairs: dict[int, list[tuple[int, int]]] = {}
    for anchor, positive, negative in zip(*(column.tolist() for column in found), strict=True):
        pairs.setdefault(anchor, []).append((positive, negative))
    return pairs


@settings(deadline=None, max_examples=200)
@given(buckets(), st.integers(1, 5), st.integers(0, 2**32))
def test_triplets_are_valid_and_positives_differ(bucket, triplets_per_anchor, seed):
    codes, is_anchor = bucket
    found, _ = draw_triplets(codes, triplets_per_anchor * is_anchor, np.random.default_rng(seed))
    assert found.anchor.tolist() == sorted(found.anchor.tolist())
    pairs = of_anchor(found)
    assert set(pairs) == set(np.flatnonzero(is_anchor))
    valid = valid_triplets(codes, is_anchor)
    for anchor, chosen in pairs.items():
        assert len(chosen) == triplets_per_anchor
        assert {(anchor, *pair) for pair in chosen} <= valid
        others = {p for a, p, _ in valid if a == anchor}
        times = Counter(p for p, _ in chosen)
        assert max(times.values()) <= -(-triplets_per_anchor // len(others))


def test_every_valid_triplet_of_an_anchor_is_equally_likely():
    codes = np.array([7, 2, 7, 5, 2, 7, 5, 2, 7, 9])  # sizes 4, 3, 2 and a single 9
    is_anchor = np.array([True] * 8 + [False] * 2)
    draws = 20_000
    found, _ = draw_triplets(codes, draws * is_anchor, np.random.default_rng(0))
    counts = Counter(zip(*(column.tolist() for column in found), strict=True))
    valid = valid_triplets(codes, is_anchor)
    assert set(counts) == valid
    for anchor in np.flatnonzero(is_anchor):
        observed = [counts[triplet] for triplet in valid if triplet[0] == anchor]
        assert sum(observed) == draws
        assert chisquare(observed).pvalue > 1e-4


def test_the_first_positive_of_an_anchor_is_uniform():
    codes = np.array([0, 1, 0, 0, 1, 0, 0])
    counts = Counter()
    for seed in range(2_000):
        found, _ = draw_triplets(
            codes, np.array([0, 0, 2, 0, 0, 0, 0]), np.random.default_rng(seed)
        )
        counts.update(found.positive[:1].tolist())
    assert set(counts) == {0, 3, 5, 6}
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize(
    ("codes", "message"), [([1, 2, 2], "no positive"), ([1, 1, 1], "no negative")]
)
def test_impossible_anchors_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        draw_triplets(np.array(codes), np.array([1, 0, 0]), np.random.default_rng(0))
    assert not have_triplets(np.array(codes), 3)[0]


@settings(deadline=None, max_examples=100)
@given(buckets())
def test_rows_with_a_triplet(bucket):
    codes, chosen = bucket
    anchors = {anchor for anchor, _, _ in valid_triplets(codes, np.ones(len(chosen), bool))}
    assert set(np.flatnonzero(have_triplets(codes, len(chosen)))) == anchors


def blake(data: bytes, size: int, key: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def slow_bucket(example_id, label, counts, bucket_size, seed, part) -> int:
    key = blake(repr((seed, "examples")).encode(), 16, b"")
    _, group_hash, _ = struct.unpack("<QQQ", blake(example_id, 24, key))
    group = group_hash % max(1, counts[label] // 64)
    key = blake(repr((seed, part, "groups")).encode(), 16, b"")
    total = sum(counts.values())
    buckets = total // bucket_size + (total % bucket_size > 0)
    return int.from_bytes(blake(b"%d:%b" % (group, label), 8, key), "big") % buckets


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
def test_buckets_as_the_slow_reference(counts, bucket_size, seed, part):
    plan = BucketPlan(counts, bucket_size, seed, part)
    labels, codes, ids = expand(counts)
    found, _ = plan.assign(codes, hash_ids(ids, seed))
    assert found.tolist() == [
        slow_bucket(i, label, counts, bucket_size, seed, part)
        for i, label in zip(ids, labels, strict=True)
    ]
    for label, n in counts.items():
        if n < 2 * 64:  # one group
            assert len({b for b, name in zip(found, labels, strict=True) if name == label}) == 1


def reserve_of(counts: dict[bytes, int]) -> Counter[bytes]:
    plan = BucketPlan(counts, 64, 0, "train")
    labels, codes, ids = expand(counts)
    _, chosen = plan.assign(codes, hash_ids(ids, 0))
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


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(*[st.binary(max_size=200)] * 3), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12),
    st.integers(0, 5),
)
def test_records_have_the_triplets_of_their_row(rows, picks, own):
    triplets = sorted(tuple(i % len(rows) for i in pick) for pick in picks)
    columns = (as_column(column) for column in zip(*rows, strict=True))
    none = np.zeros(len(rows), np.int64)
    indices = TripletIndices(*np.array(triplets, np.int64).reshape(-1, 3).T)
    records = list(make_records(Rows(none, none, *columns), indices, own))
    assert len(records) == len(rows)
    for number, record in enumerate(records):
        expected = make_example(rows[number][2], rows[number][0], rows[number][1])
        mine = [triplet for triplet in triplets if triplet[0] == number]
        values = {
            "positives": [p for _, p, _ in mine],
            "negatives": [n for _, _, n in mine],
            "copy": [int(number >= own)],
        }
        for name, numbers in values.items():
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
            expected.features.feature[name].CopyFrom(feature)
        assert record == expected.SerializeToString(deterministic=True)


def test_a_file_appears_whole(tmp_path):
    folder = tmp_path / ".tmp"
    folder.mkdir()

    def broken():
        yield b"first"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_records(str(tmp_path / "file"), broken(), str(folder))
    assert not (tmp_path / "file").exists()
    for records in ([b"old"], [b"", b"new"]):
        write_records(str(tmp_path / "file"), records, str(folder))
        found = tf.data.TFRecordDataset(str(tmp_path / "file")).as_numpy_iterator()
        assert list(found) == records
