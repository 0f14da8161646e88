"""Near-duplicates that are shifted by a pixel: real digits, and a loop over all pairs of hashes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.audit import Sightings, find_shifted, long_words, look_at, merge_findings
from modules.audit.hashes import SHIFTED, SMALL
from tests.real_data import digits, png


def rows_of(hashes: np.ndarray, words: np.ndarray | None = None) -> Sightings:
    """Images of one class, all in train but for the last, which is in eval."""
    count = len(hashes)
    ids, labels, splits = (np.empty(count, object) for _ in range(3))
    ids[:], labels[:] = [f"{n:03d}".encode() for n in range(count)], b"a"
    splits[:] = ["train"] * (count - 1) + ["eval"]
    plain = np.arange(count)[:, None] * np.full(9, 0xFFF, np.int64) if words is None else words
    return Sightings(
        ids, labels, splits, np.stack([np.arange(count), np.full(count, 7)], 1).astype(np.uint64),
        plain.astype(np.uint16), hashes, np.zeros(count, bool),
    )  # fmt: skip


def search(rows: Sightings, parts: int = 1):
    """All pairs, in parts as in Beam."""
    words = long_words(rows.shifted.reshape(-1, 9))
    row, way = np.divmod(np.arange(len(words)), SHIFTED)
    found = []
    for word, part in itertools.product(range(3), range(parts)):
        chosen = words[:, word] % np.uint64(parts) == part
        found.append(find_shifted(rows.take(row[chosen]), way[chosen], word, 1000))
    return merge_findings(found, 1000)


def pairs_of(found) -> set[tuple[str, str, int]]:
    return {
        (one.value["members"][0]["id"], one.value["members"][1]["id"], one.value["bits"])
        for one in found.listed["near_duplicates"]
    }


@st.composite
def drawn(draw: st.DrawFn) -> np.ndarray:
    """Hashes of few kinds that differ in few bits, so that everything occurs: uint16 [N, 5, 9]."""
    kinds = draw(st.integers(1, 4))
    base = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2**16, (kinds, 9))
    count = draw(st.integers(2, 8))
    hashes = np.zeros((count, SHIFTED, 9), np.int64)
    for image, way in itertools.product(range(count), range(SHIFTED)):
        hashes[image, way] = base[draw(st.integers(0, kinds - 1))]
        for bit in draw(st.sets(st.integers(0, 143), max_size=2)):
            hashes[image, way, bit % 9] ^= 1 << bit // 9
    return hashes.astype(np.uint16)


@given(hashes=drawn(), parts=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_all_pairs_are_found_of_which_one_is_the_other_shifted_and_each_once(hashes, parts) -> None:
    rows = rows_of(hashes)
    expected = set()
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if np.bitwise_count(rows.words[one] ^ rows.words[other]).sum() <= 8:
            continue  # found without
        shifts = [(0, way) for way in range(1, 5)] + [(way, 0) for way in range(1, 5)]
        bits = [np.bitwise_count(hashes[one, a] ^ hashes[other, b]).sum() for a, b in shifts]
        if close := [int(number) for number in bits if number <= 2]:
            expected.add((f"{one:03d}", f"{other:03d}", close[0]))
    found = search(rows, parts)
    assert found.counts["near pairs"] == len(expected)
    assert pairs_of(found) == expected
    last = f"{len(hashes) - 1:03d}"
    assert found.near_leaked == (
        {last.encode()} if any(last == b for _, b, _ in expected) else set()
    )


def test_what_the_plain_hash_finds_is_not_found_again() -> None:
    same = np.zeros((2, SHIFTED, 9), np.uint16)
    assert search(rows_of(same)).counts["near pairs"] == 1
    assert search(rows_of(same, np.zeros((2, 9)))).counts["near pairs"] == 0


@pytest.mark.parametrize(
    "move", [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
)
def test_a_digit_that_is_shifted_by_a_pixel_is_found_and_no_other(move) -> None:
    images = [one for one, _, _ in digits(3)]
    originals = look_at(images)
    import tensorflow as tf

    moved = [png(np.roll(tf.io.decode_png(one)[:, :, 0].numpy(), move, (0, 1))) for one in images]
    copies = look_at(moved)
    rows = rows_of(
        np.concatenate([originals.shifted, copies.shifted]),
        np.concatenate([originals.words, copies.words]),
    )
    count = len(images)
    assert {(a, b) for a, b, _ in pairs_of(search(rows))} == {
        (f"{n:03d}", f"{count + n:03d}") for n in range(count)
    }


def test_only_small_images_are_looked_at_shifted() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (SMALL + 1, SMALL + 1), np.uint8)
    sizes = [(SMALL, SMALL), (SMALL + 1, SMALL), (8, 8), (7, 8)]
    looks = look_at([png(noise[:height, :width]) for height, width in sizes] + [b"no image"])
    assert looks.shifted.any(axis=(1, 2)).tolist() == [True, False, True, False, False]
    assert looks.words.any(axis=1).tolist() == [True] * 4 + [False]
