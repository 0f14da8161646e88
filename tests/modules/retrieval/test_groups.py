"""What has a query's label and its camera is no neighbour: every score and count, against loops."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings, strategies as st

from modules.retrieval import COUNTS, make_gallery, score_against, score_names, score_queries
from modules.retrieval.pair_counts import PairCounters, count_block_pairs
from modules.retrieval.rows import LabelledRows
from modules.retrieval.scores import score_block
from modules.retrieval.transforms import ScoreQueries
from modules.retrieval.verification import add_pairs, new_histogram
from tests.grouped_sets import make_block, sets
from tests.real_data import BEAM_ARGS
from tests.retrieval_oracle import Rows, brute_force, pairs

KS = [1, 3]
NAMES = [*score_names(KS), *COUNTS]


def check(scores: np.ndarray, ids, expected: dict) -> None:
    for query, values in zip(ids, scores, strict=True):
        row = dict(zip(NAMES, values, strict=True))
        assert row["excluded_queries"] == (expected[query] is None)
        wanted = expected[query] or dict.fromkeys(score_names(KS), np.nan)
        actual = {name: row[name] for name in wanted}
        assert actual == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_the_protocol_by_hand():
    # Seen from q on a line: its own camera (junk), another class there, a hit, its own camera.
    ids, labels = ["q", "a", "b", "c", "d"], ["x", "x", "y", "x", "x"]
    cameras = ["1", "1", "1", "2", "1"]
    gallery = make_gallery(ids, labels, np.arange(5.0)[:, None], [cameras])
    row = list(gallery.ids).index("q")
    found = {name: float(values[row]) for name, values in score_queries(gallery, [1]).items()}
    assert found["precision@1"] == 0  # b, of another class, is the nearest that counts
    assert found["mrr"] == 1 / 2
    assert found["r_precision"] == 0  # R = 1
    assert (found["d_ap"], found["d_an"]) == (3**2, 2**2)


def test_an_unknown_value_is_the_same_as_no_other():
    gallery = make_gallery(["a", "b"], ["x", "x"], np.zeros((2, 1)), [["", ""]])
    assert score_queries(gallery, [1])["precision@1"].tolist() == [1, 1]


def test_a_query_whose_class_was_seen_by_one_camera_alone_is_excluded():
    cameras = ["1", "1", "2"]
    gallery = make_gallery(["a", "b", "c"], ["x", "x", "y"], np.zeros((3, 1)), [cameras])
    assert score_queries(gallery, [1])["excluded_queries"].tolist() == [1, 1, 1]


@settings(deadline=None, max_examples=80)
@given(sets(), st.booleans(), st.integers(1, 17))
def test_scores_and_pairs_equal_the_brute_force_for_every_shard_size(found, two_sets, size):
    (queries, columns), other = found
    gallery, gallery_columns = other if two_sets else found[0]
    block, shards = make_block(queries, columns, gallery, gallery_columns, size)
    result = score_block(block, shards, KS, count_pairs=lambda model: PairCounters())[""]
    expected = brute_force(*queries, KS, gallery, columns, gallery_columns)
    check(result.scores, queries.ids, expected)
    distances, same = pairs(queries, gallery, columns, gallery_columns)
    histogram = new_histogram()
    add_pairs(histogram, np.array(distances, np.float32), np.array(same, bool))
    np.testing.assert_array_equal(result.pairs, histogram)
    np.testing.assert_array_equal(count_block_pairs(block, shards)[""], histogram)


@settings(deadline=None, max_examples=30)
@given(sets(), st.booleans())
def test_in_memory_equals_the_brute_force(found, two_sets):
    (queries, columns), other = found
    gallery, gallery_columns = other if two_sets else found[0]
    made = make_gallery(*queries, columns)
    if two_sets:
        scores = score_against(made, make_gallery(*gallery, gallery_columns), KS)
    else:
        scores = score_queries(made, KS)
    rows = np.stack([scores[name] for name in NAMES], axis=1)
    check(rows, made.ids, brute_force(*queries, KS, gallery, columns, gallery_columns))


@settings(deadline=None, max_examples=8)
@given(sets(), st.booleans(), st.integers(1, 17), st.integers(1, 17))
def test_in_beam_equals_the_brute_force(found, two_sets, query_rows, shard_rows):
    (queries, columns), other = found
    gallery, gallery_columns = other if two_sets else found[0]
    names = [f"column {i}" for i in range(len(columns))]

    def batches(rows: Rows, values) -> list[LabelledRows]:
        whole = LabelledRows(
            np.array(rows.ids, object),
            np.array(rows.labels, object),
            {"": rows.embeddings},
            {n: np.array(v, object) for n, v in zip(names, values, strict=True)},
        )
        half = len(rows.ids) // 2
        return [whole.take(slice(0, half + 1)), whole.take(slice(half + 1, None))]

    expected = brute_force(*queries, KS, gallery, columns, gallery_columns)

    def check_blocks(blocks):
        assert sum(len(block.queries.ids) for block in blocks) == len(queries.ids)
        for block in blocks:
            check(block.by_model[""].scores, block.queries.ids, expected)

    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        searched = None
        if two_sets:
            searched = pipeline | "Gallery" >> beam.Create(batches(gallery, gallery_columns))
        scored = (
            pipeline
            | beam.Create(batches(queries, columns))
            | ScoreQueries(
                KS, searched, exclude_same=names, query_rows=query_rows, shard_rows=shard_rows
            )
        )
        assert_that(scored, check_blocks)
