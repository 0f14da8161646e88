"""Rows about made-up images for the tests, and loops that say what is to be found."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from modules.audit import Sightings, join_sightings
from modules.audit.copies import find_copies
from modules.audit.near import find_near

SPLITS = ("eval", "other", "train")


def sightings(rows: list[tuple[int, str, str]], hashes: dict[int, list[int]]) -> Sightings:
    """Rows (number of the picture, label, split); all copies of a picture have its hash."""
    pictures = [picture for picture, _, _ in rows]
    column = np.empty(len(rows), object)
    column[:] = [f"{number:03d}".encode() for number in range(len(rows))]
    labels = column.copy()
    labels[:] = [label.encode() for _, label, _ in rows]
    splits = column.copy()
    splits[:] = [split for _, _, split in rows]
    return Sightings(
        column,
        labels,
        splits,
        np.array([[picture, 7] for picture in pictures], np.uint64).reshape(-1, 2),
        np.array([hashes[picture] for picture in pictures], np.uint16).reshape(-1, 9),
        np.zeros((len(rows), 5, 9), np.uint16),
        np.zeros(len(rows), bool),
    )


@st.composite
def drawn(draw: st.DrawFn) -> Sightings:
    """Few pictures, whose hashes differ in few bits, so that everything occurs."""
    base = draw(st.lists(st.integers(0, 2**16 - 1), min_size=9, max_size=9))
    hashes = {}
    for picture in range(6):
        words = list(base)
        for bit in draw(st.sets(st.integers(0, 143), max_size=7)):
            words[bit % 9] ^= 1 << bit // 9
        hashes[picture] = words
    row = st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from(SPLITS))
    return sightings(draw(st.lists(row, min_size=1, max_size=25)), hashes)


def near_pairs(rows: Sightings) -> list[tuple[int, int, int]]:
    """All pairs that are near-duplicates and no copies, by comparing all, with their bits."""
    found = []
    for one, other in itertools.combinations(range(len(rows.ids)), 2):
        words = zip(rows.words[one].tolist(), rows.words[other].tolist(), strict=True)
        bits = sum((a ^ b).bit_count() for a, b in words)
        if bits <= 8 and (rows.pixels[one] != rows.pixels[other]).any():
            found.append((one, other, bits))
    return found


def search(rows: Sightings, parts: int, listed: int = 1000):
    """All near-duplicates, each word in several parts, as in Beam."""
    for word in range(9):
        for part in range(parts):
            chosen = rows.words[:, word] % parts == part
            if chosen.any():
                yield find_near(join_sightings([rows.take(chosen)]), word, listed)


def distinct(rows: Sightings) -> Sightings:
    return rows.take(find_copies(rows, 1)[1])
