"""No name and no order of rows has an effect on scores, however many neighbours are tied."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.retrieval import COUNTS, make_gallery, score_names, score_queries
from tests.modules.retrieval.test_in_memory import KS, rows, score
from tests.retrieval_oracle import Rows


@pytest.mark.parametrize("names", ["abcde", "ebcda", "bacde"])
def test_the_scores_of_ties_do_not_know_names(names):
    gallery = make_gallery(list(names), ["x", "q", "x", "q", "q"], np.full((5, 4), 0.5))
    scores = score_queries(gallery, [1, 2])
    # Seen from a q, two of four are hits: each place holds one with 1/2, and two places hold two
    # with 1/2 · 1/3.
    q = np.flatnonzero(gallery.labels == "q")
    assert scores["precision@1"][q].tolist() == [1 / 2] * 3
    assert scores["recall@2"][q] == pytest.approx(1 - 1 / 2 * 1 / 3)
    assert scores["map@r"][q] == pytest.approx(1 / 2 * (1 / 1 * 1 / 2 + 1 / 2 * (1 / 2 + 1 / 6)))


@pytest.mark.parametrize("scale", [1, 0.01, 0])  # whole numbers, unit vectors, all the same
@pytest.mark.parametrize("size", [7, 100])
def test_renaming_and_mixing_rows_changes_no_score(scale, size):
    rng = np.random.default_rng(size)
    rows = np.repeat(rng.standard_normal((12, 16)), 5, axis=0)  # each image five times
    rows = np.rint(2 * rows) if scale == 1 else 1 + scale * rows
    rows = rows.astype(np.float32)
    if scale != 1:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = rng.integers(0, 4, len(rows))
    of_each = []
    for _ in range(3):
        ids, order = rng.permutation(len(rows)), rng.permutation(len(rows))
        names = np.array(list("wxyz"), object)[rng.permutation(4)]
        split = Rows([b"%03d" % i for i in ids[order]], names[labels[order]].tolist(), rows[order])
        values = np.empty((len(rows), len([*score_names(KS), *COUNTS])))
        values[order] = score(split, split, size).scores
        of_each.append(values)
    for values in of_each[1:]:
        np.testing.assert_allclose(values, of_each[0], rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=40)
@given(rows(), st.randoms(use_true_random=False), st.integers(1, 21))
def test_no_name_and_no_order_has_an_effect(split, random, size):
    order, ids, names = list(range(len(split.ids))), sorted(split.ids), [b"k", b"l", b"m", b"n"]
    for values in (order, ids, names):
        random.shuffle(values)
    renamed = dict(zip([b"a", b"b", b"c", b"d"], names, strict=True))
    other = Rows(
        [ids[i] for i in order],
        [renamed[split.labels[i]] for i in order],
        split.embeddings[order],
    )
    np.testing.assert_allclose(
        score(other, other, size).scores,
        score(split, split, 21).scores[order],
        rtol=1e-12,
        atol=1e-14,
    )


def test_blank_images_score_what_chance_gives():
    sizes = {"cats": 5, "dogs": 15, "eels": 30}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    gallery = make_gallery(
        [f"{label}/{i:02d}" for i, label in enumerate(labels)], labels, [[1]] * 50
    )
    expected = sum(size * (size - 1) / 49 for size in sizes.values()) / 50
    assert score_queries(gallery, [1])["precision@1"].mean() == pytest.approx(expected, rel=1e-12)
