"""Metrics of the whole set, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest

from modules.retrieval import COLLAPSED_SPREAD, clustering
from modules.retrieval.clustering import clustering_metrics
from modules.retrieval.rows import LabelledRows
from modules.retrieval.scores import BlockScores
from modules.retrieval.sets import _MeasureSetFn, count_non_finite, spread_metrics
from modules.retrieval.transforms import ScoredQueries
from modules.retrieval.verification import add_pairs, new_histogram, verification_metrics


def block(ids, labels, embeddings, pairs=None) -> ScoredQueries:
    rows = LabelledRows(np.array(ids, object), np.array(labels, object), {"": embeddings})
    empty = np.empty((len(ids), 0))
    return ScoredQueries(rows, {"": BlockScores(empty, pairs)})


def combine(fn: _MeasureSetFn, *parts: list[ScoredQueries]) -> dict[str, float]:
    accumulators = []
    for part in parts:
        accumulator = fn.create_accumulator()
        for element in part:
            accumulator = fn.add_input(accumulator, element)
        accumulators.append(accumulator)
    return fn.extract_output(fn.merge_accumulators(accumulators)).by_model[""]


def test_spread_by_hand():
    # Two points at distance 2: each is 1 from their mean.
    assert spread_metrics(2, np.array([2.0, 0]), 4.0) == {"spread": 1, "collapsed": 0}


@pytest.mark.parametrize(("scale", "collapsed"), [(1.01, 0), (0.99, 1)])
def test_collapsed_is_a_spread_below_the_bound(scale, collapsed):
    apart = np.sqrt(scale * COLLAPSED_SPREAD)
    embeddings = np.array([[1, apart], [1, -apart]], np.float32)
    metrics = combine(_MeasureSetFn(False, False), [block([b"a", b"b"], [b"x"] * 2, embeddings)])
    assert metrics["collapsed"] == collapsed
    assert metrics["spread"] == pytest.approx(scale * COLLAPSED_SPREAD)


def test_nan_has_no_spread():
    embeddings = np.array([[1, np.nan], [1, 0]], np.float32)
    metrics = combine(_MeasureSetFn(False, False), [block([b"a", b"b"], [b"x"] * 2, embeddings)])
    assert np.isnan(metrics["spread"])


def test_rows_without_a_finite_embedding_are_counted_by_model():
    broken = np.array([[1, np.nan], [0, 0], [-np.inf, np.inf]], np.float32)
    embeddings = {"candidate": broken, "baseline": np.zeros((3, 2), np.float32)}
    rows = LabelledRows(np.array([b"a", b"b", b"c"]), np.array([b"x"] * 3), embeddings)
    assert count_non_finite(rows) == {"candidate": 2, "baseline": 0}


def test_pairs_of_all_blocks_are_added():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(4, 2)).astype(np.float32)
    histograms = []
    for _ in range(3):
        histogram = new_histogram()
        add_pairs(histogram, rng.random(50, np.float32), rng.random(50) < 0.5)
        histograms.append(histogram)
    blocks = [
        block([b"%d%d" % (i, j) for j in range(4)], [b"x"] * 4, embeddings, histogram)
        for i, histogram in enumerate(histograms)
    ]
    metrics = combine(_MeasureSetFn(True, False), blocks[:1], blocks[1:])
    expected = verification_metrics(sum(histograms))
    assert {name: metrics[name] for name in expected} == expected


def test_clustering_takes_the_same_sample_whatever_the_parts(monkeypatch):
    monkeypatch.setattr(clustering, "MAX_EXAMPLES", 30)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(100, 2)).astype(np.float32)
    labels = [b"%d" % label for label in rng.integers(0, 4, 100)]
    ids = [b"%03d" % i for i in rng.permutation(100)]

    def part(rows) -> ScoredQueries:
        return block([ids[i] for i in rows], [labels[i] for i in rows], embeddings[rows])

    fn = _MeasureSetFn(False, True)
    order = rng.permutation(100)
    whole = combine(fn, [part(np.arange(100))])
    parts = combine(fn, [part(order[:40]), part(order[40:60])], [part(order[60:])])
    assert parts == pytest.approx(whole, rel=1e-12)


def test_clustering_of_a_small_set_takes_all_of_it():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(60, 2)).astype(np.float32)
    labels = [b"%d" % label for label in rng.integers(0, 4, 60)]
    ids = [b"%03d" % i for i in range(60)]
    metrics = combine(_MeasureSetFn(False, True), [block(ids, labels, embeddings)])
    expected = clustering_metrics(embeddings, labels)
    assert {name: metrics[name] for name in expected} == expected
