"""Rank hashes as columns against a dictionary of lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from components.triplet_gen.ranks import Ranks, join_ranks
from components.triplet_gen.rows import as_column

PAIRS = st.lists(st.tuples(st.binary(max_size=1), st.integers(0, 2**64 - 1)), max_size=20)


@given(st.lists(PAIRS, min_size=1, max_size=4), st.integers(0, 5), st.integers(0, 2**64))
def test_ranks_as_lists(parts, limit, below):
    columns = [
        Ranks(as_column([label for label, _ in part]), np.array([h for _, h in part], np.uint64))
        for part in parts
    ]
    expected: dict[bytes, list[int]] = {}
    for label, number in sorted(pair for part in parts for pair in part):
        expected.setdefault(label, []).append(number)
    joined = join_ranks(columns)
    assert lists(joined) == expected
    assert lists(joined.highest(limit)) == {
        label: own[-limit:] for label, own in expected.items() if limit
    }
    kept = {
        label: [n for place, n in enumerate(own) if place < limit or n < min(below, 2**64 - 1)]
        for label, own in expected.items()
    }
    assert lists(joined.lowest(limit, below)) == {label: own for label, own in kept.items() if own}


def lists(ranks: Ranks) -> dict[bytes, list[int]]:
    return {label: own.tolist() for label, own in ranks.by_label().items()}
