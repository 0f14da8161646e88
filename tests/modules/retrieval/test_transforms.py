"""The search in Beam: batches, shards, blocks and runners must not matter."""

from __future__ import annotations

import itertools

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score

from modules.retrieval import (
    COUNTS,
    order as retrieval_order,
    score_names,
    together as together_module,
)
from modules.retrieval.rows import LabelledRows
from modules.retrieval.sets import MeasureSet
from modules.retrieval.transforms import ScoreQueries
from tests.real_data import BEAM_ARGS
from tests.retrieval_oracle import Rows, brute_force, pairs, set_metrics

KS = [1, 5]
WORKERS = [*BEAM_ARGS, "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def make_rows(seed: int, n: int, labels: bytes = b"abcdefg") -> Rows:
    """Whole numbers, so that distances are exact; some ids and labels are shared by all seeds."""
    rng = np.random.default_rng(seed)
    ids = [b"%03d" % i for i in rng.permutation(2 * n)[:n]]
    names = [bytes([labels[i]]) for i in rng.integers(0, len(labels), n)]
    return Rows(ids, names, rng.integers(-2, 3, (n, 3)).astype(np.float32))


def in_batches(rows: Rows, cuts: list[int]) -> list[LabelledRows]:
    bounds = [0, *sorted(cuts), len(rows.ids)]
    columns = np.array(rows.ids, object), np.array(rows.labels, object)
    return [
        LabelledRows(
            columns[0][a:b],
            columns[1][a:b],
            {"x": rows.embeddings[a:b], "y": rows.embeddings[a:b, :1]},
            {"camera": columns[0][a:b] + b"!"},
        )
        for a, b in itertools.pairwise(bounds)
        if a < b
    ]


def run(transform, queries, gallery, check, args=BEAM_ARGS) -> None:
    """Runs `transform(gallery or None)` on the batches and checks its output."""
    with beam.Pipeline(argv=args) as pipeline:
        gallery = gallery and (pipeline | "Gallery" >> beam.Create(gallery, reshuffle=False))
        queries = pipeline | "Queries" >> beam.Create(queries, reshuffle=False)
        assert_that(queries | transform(gallery), check)


def check_scores(queries: Rows, gallery: Rows, at_most: int = 60):
    """Compares both models with the oracle, and how many queries went through the gallery."""
    expected = {
        "x": brute_force(*queries, KS, gallery),
        "y": brute_force(
            *queries._replace(embeddings=queries.embeddings[:, :1]),
            KS,
            gallery._replace(embeddings=gallery.embeddings[:, :1]),
        ),
    }
    names = [*score_names(KS), *COUNTS]

    def check(blocks):
        assert max(len(block.queries.ids) for block in blocks) <= at_most
        assert sorted(i for block in blocks for i in block.queries.ids) == sorted(queries.ids)
        for block in blocks:
            assert block.queries.ids.tolist() == sorted(block.queries.ids)
            assert (block.queries.features["camera"] == block.queries.ids + b"!").all()
            for model, by_query in expected.items():
                scores = block.by_model[model].scores
                for query, values in zip(block.queries.ids, scores, strict=True):
                    wanted = by_query[query] or dict.fromkeys(score_names(KS), np.nan)
                    row = dict(zip(names, values, strict=True))
                    assert row["excluded_queries"] == (by_query[query] is None)
                    actual = {name: row[name] for name in wanted}
                    assert actual == pytest.approx(wanted, abs=1e-12, nan_ok=True)

    return check


@settings(deadline=None, max_examples=5)
@given(
    st.lists(st.integers(1, 59), max_size=5, unique=True),
    st.booleans(),
    st.integers(1, 61),
    st.integers(1, 61),
    st.integers(0, 60),
)
def test_scores_equal_the_brute_force_for_all_batches_blocks_and_shards(
    cuts, two_sets, query_rows, shard_rows, together
):
    queries = make_rows(0, 60)
    gallery = make_rows(1, 50, labels=b"cdefghi") if two_sets else queries
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together_module, "_TOGETHER", together * 4)  # a query has 3 + 1 values
        patch.setattr(retrieval_order, "_DEALT_ROWS", 10)  # in several parts of a bundle
        run(
            lambda pcollection: ScoreQueries(
                KS, pcollection, query_rows=query_rows, shard_rows=shard_rows
            ),
            in_batches(queries, cuts),
            in_batches(gallery, [10]) if two_sets else None,
            check_scores(queries, gallery, max(query_rows, together)),
        )


@pytest.mark.slow
def test_scores_of_two_worker_processes(tmp_path):
    queries, gallery = make_rows(0, 60), make_rows(1, 50)
    run(
        lambda pcollection: ScoreQueries(
            KS, pcollection, query_rows=7, shard_rows=9, folder=str(tmp_path)
        ),
        in_batches(queries, [20, 40]),
        in_batches(gallery, [30]),
        check_scores(queries, gallery),
        WORKERS,
    )


def test_ranges_are_as_long_as_asked():
    census = retrieval_order._CensusFn("examples", 25)
    accumulator = census.create_accumulator()
    ids = np.array([b"%05d" % i for i in range(10_000)], object)
    for start in range(0, 10_000, 1000):
        part = ids[start : start + 1000]
        accumulator = census.add_input(accumulator, (part, part))
    boundaries = census.extract_output(accumulator).boundaries
    sizes = np.diff([0, *np.searchsorted(ids, boundaries), 10_000])
    assert sizes.tolist() == [100] * 100


def test_a_sample_of_the_ids_gives_ranges_of_similar_length(monkeypatch):
    monkeypatch.setattr(retrieval_order, "_SAMPLE", 1000)
    census = retrieval_order._CensusFn("examples", 125)
    ids = np.array([b"class/%d/%05d" % (i % 7, i) for i in range(10_000)], object)
    parts = [
        census.add_input(census.create_accumulator(), (ids[i::3], ids[i::3])) for i in range(3)
    ]
    boundaries = census.extract_output(census.merge_accumulators(parts)).boundaries
    sizes = np.diff([0, *np.searchsorted(np.sort(ids), boundaries), 10_000])
    assert len(sizes) == 10_000 / 500
    assert sizes.max() < 2 * 500


@pytest.mark.parametrize("where", ["queries", "gallery"])
def test_a_repeated_id_is_named_wherever_it_is(where):
    rows = make_rows(0, 40)
    twice = rows._replace(ids=[rows.ids[-1], *rows.ids[1:]])
    with pytest.raises(Exception, match=r"id b'\d+' occurs more than once"):
        run(
            lambda pcollection: ScoreQueries(KS, pcollection, shard_rows=5),
            in_batches(twice if where == "queries" else rows, [20]),
            in_batches(twice, [20]) if where == "gallery" else None,
            lambda blocks: None,
        )


def test_nothing_to_search_for_or_in():
    some = in_batches(make_rows(0, 3), [])
    with pytest.raises(Exception, match="there are no evaluated examples"):
        run(lambda _: ScoreQueries(KS), [], None, lambda blocks: None)
    with pytest.raises(Exception, match="there are no gallery examples"):
        run(lambda gallery: ScoreQueries(KS, gallery), some, Nothing(), lambda blocks: None)


class Nothing(list):
    """An empty gallery, which is not the same as none."""

    def __bool__(self) -> bool:
        return True


@pytest.mark.parametrize(("cuts", "query_rows"), [([], 60), ([5, 30], 7)])
def test_metrics_of_the_set(cuts, query_rows):
    queries = make_rows(0, 60)
    distances, same = pairs(queries, queries)

    def check(results):
        (result,) = results
        assert result.queries == 60
        expected = set_metrics(queries.embeddings)
        assert expected["collapsed"] == 0
        metrics = result.by_model["x"]
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-12)
        assert metrics["roc_auc"] == pytest.approx(roc_auc_score(same, -np.array(distances)))
        assert 0 <= metrics["nmi"] <= 1
        assert result.by_model["y"]["spread"] == pytest.approx(queries.embeddings[:, 0].var())

    class Whole(beam.PTransform):
        def expand(self, rows):
            scored = rows | ScoreQueries(KS, verification=True, query_rows=query_rows)
            return scored | MeasureSet(verification=True, clustering=True)

    run(lambda _: Whole(), in_batches(queries, cuts), None, check)
