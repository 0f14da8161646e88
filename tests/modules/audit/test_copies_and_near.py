"""Copies and near-duplicates, against loops over all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st

from modules.audit import find_copies, find_near, merge_findings
from tests.modules.audit.rows import distinct, drawn, near_pairs, search, sightings

PLAIN = {0: [0] * 9, 1: [1] * 9, 2: [2**16 - 1] * 9}


@given(rows=drawn())
@settings(max_examples=150, deadline=None)
def test_counts_of_copies_are_those_of_a_loop(rows) -> None:
    found, representatives = find_copies(rows, 1000)
    everything = range(len(rows.ids))
    group = {
        row: [o for o in everything if (rows.pixels[o] == rows.pixels[row]).all()]
        for row in everything
    }
    split, label = rows.splits, rows.labels
    assert found.counts["leaked"] == sum(
        split[row] == "eval" and any(split[o] == "train" for o in group[row]) for row in everything
    )
    conflicting = {row for row in everything if len({label[o] for o in group[row]}) > 1}
    assert found.counts["conflicting"] == len(conflicting)
    assert found.suspects == {rows.ids[row] for row in conflicting}
    for name in set(split):
        firsts = sum(
            split[row] == name and not any(o < row and split[o] == name for o in group[row])
            for row in everything
        )
        images = int((split == name).sum())
        assert found.counts[f"copies in {name}"] == images - firsts
    groups = {tuple(one) for one in group.values() if len(one) > 1}
    assert found.counts["groups of copies"] == len(groups) == len(found.listed.get("copies", []))
    assert sum(one.value["images"] for one in found.listed.get("copies", [])) == sum(
        map(len, groups)
    )
    # One row for each picture, split and label.
    keys = {(*rows.pixels[row].tolist(), split[row], label[row]) for row in everything}
    assert len(representatives) == len(keys)
    assert {(*rows.pixels[r].tolist(), split[r], label[r]) for r in representatives} == keys


@given(rows=drawn(), parts=st.integers(1, 3), limit=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_near_duplicates_are_all_pairs_that_differ_in_8_bits_each_once(rows, parts, limit) -> None:
    rows = distinct(rows)
    expected = near_pairs(rows)
    found = merge_findings(search(rows, parts), 1000)
    assert found.counts["near pairs"] == len(expected)
    named = {
        (one.value["members"][0]["id"], one.value["members"][1]["id"], one.value["bits"])
        for one in found.listed.get("near_duplicates", [])
    }
    ids = [one.decode() for one in rows.ids]
    assert named == {(ids[one], ids[other], bits) for one, other, bits in expected}
    into = [(one, other) for a, b, _ in expected for one, other in ((a, b), (b, a))]
    assert found.near_leaked == {
        rows.ids[one]
        for one, other in into
        if (rows.splits[one], rows.splits[other]) == ("eval", "train")
    }
    # The first of all are the same, however many each part keeps.
    few = merge_findings(search(rows, parts, limit), limit)
    assert few.listed.get("near_duplicates", []) == found.listed.get("near_duplicates", [])[:limit]


def test_conflicts_come_first_then_leaks_then_the_smallest_id() -> None:
    rows = sightings(
        [(0, "a", "train"), (0, "a", "train"), (1, "a", "train"), (1, "a", "eval"),
         (2, "a", "train"), (2, "b", "train")], PLAIN,
    )  # fmt: skip
    found, _ = find_copies(rows, 2)
    assert [one.value["members"][0]["id"] for one in found.listed["copies"]] == ["004", "002"]
    assert found.pairs == {(b"a", b"b"): 1, (b"b", b"a"): 1}


def test_a_word_of_very_many_images_is_not_compared_pair_by_pair() -> None:
    """5 images share all words: with 2 next ones 4 + 3 pairs are compared, not 5 · 4 / 2."""
    rows = sightings([(n, "a", "train") for n in range(5)], dict.fromkeys(range(5), [3] * 9))
    found = find_near(rows, 0, 10, neighbours=2)
    assert (found.counts["near pairs"], found.counts["crowded"]) == (7, 5)
    found = find_near(rows, 0, 10, neighbours=4)
    assert (found.counts["near pairs"], found.counts["crowded"]) == (10, 0)
    assert find_near(rows, 1, 10).counts["near pairs"] == 0  # word 0 has found them all


def test_nothing_is_found_in_nothing() -> None:
    found, rows = find_copies(sightings([], PLAIN), 3)
    assert not found.counts
    assert not len(rows)
    assert not np.any(list(find_copies(sightings([(0, "a", "eval")], PLAIN), 3)[0].counts.values()))
