"""The TFMA metric: sums, means, keys, and the names that thresholds bind to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import update_eval_config_with_defaults

from modules.retrieval import COUNTS, metric_names, score_names
from modules.retrieval.definitions import NEVER
from modules.retrieval.extractors import SCORES_KEY
from modules.retrieval.metrics import RetrievalMetrics
from modules.retrieval.sets import SetMetrics
from tests.gate_cases import eval_config

NAMES = [*score_names([1]), *COUNTS]
OF_SET = {"spread": 0.5, "collapsed": 0.0, "non_finite_gallery": 2.0, "gallery_size": 9.0}


def combiner(model_name: str = ""):
    (computation,) = RetrievalMetrics(ks=[1]).computations(model_names=[model_name])
    return computation.combiner


def combine(parts, fn) -> dict[str, float]:
    """Runs the CombineFn as Beam does: one accumulator per part, then a merge."""
    accumulators = []
    for part in parts:
        accumulator = fn.create_accumulator()
        for element in part:
            if not isinstance(element, SetMetrics):
                element = np.array(element, dtype=np.float64)
            accumulator = fn.add_input(accumulator, element)
        accumulators.append(accumulator)
    output = fn.extract_output(fn.merge_accumulators(accumulators))
    return {key.name: value for key, value in output.items()}


# precision@1, precision_capped@1, recall@1, ndcg@1, r_precision, map@r, mrr, d_ap, d_an,
# queries, excluded, non-finite
SCORED = [1, 1, 1, 1, 1 / 2, 1 / 4, 1, 2, 8, 1, 0, 0]
MISSED = [0, 0, 0, 0, 0, 0, 1 / 3, 4, 4, 1, 0, 1]
EXCLUDED = [np.nan] * 9 + [1, 1, 0]


def test_means_leave_out_the_excluded_and_counts_do_not():
    values = combine([[SCORED, EXCLUDED], [MISSED, SCORED]], combiner())
    assert {name: values[name] for name in NAMES} == {
        "precision@1": 2 / 3,
        "precision_capped@1": 2 / 3,
        "recall@1": 2 / 3,
        "ndcg@1": 2 / 3,
        "r_precision": (1 / 2 + 1 / 2) / 3,
        "map@r": (1 / 4 + 1 / 4) / 3,
        "mrr": (1 + 1 / 3 + 1) / 3,
        "d_ap": (2 + 4 + 2) / 3,
        "d_an": (8 + 4 + 8) / 3,
        "queries": 4,
        "excluded_queries": 1,
        "non_finite_embeddings": 1,
    }


def test_a_slice_of_excluded_queries_has_no_mean():
    values = combine([[EXCLUDED], [EXCLUDED]], combiner())
    assert (values["queries"], values["excluded_queries"]) == (2, 2)
    assert all(np.isnan(values[name]) for name in score_names([1]))


@pytest.mark.parametrize(
    ("parts", "known"),
    [
        ([[SCORED], [SetMetrics(2, {"": OF_SET}), EXCLUDED]], True),  # all queries
        ([[SCORED], [EXCLUDED]], False),  # a slice
        ([[SCORED], [SetMetrics(2, {"": OF_SET})]], False),  # a resample with fewer queries
        ([[SCORED] * 3, [SetMetrics(2, {"": OF_SET})]], False),  # a resample with more
    ],
)
def test_metrics_of_the_set_belong_to_all_queries(parts, known):
    values = combine(parts, combiner())
    actual = {name: values[name] for name in OF_SET}
    wanted = OF_SET if known else dict.fromkeys(OF_SET, np.nan)
    np.testing.assert_equal(actual, wanted)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([SCORED, MISSED, EXCLUDED]), max_size=5), min_size=1))
def test_the_partition_into_accumulators_does_not_matter(parts):
    fn = combiner()
    whole = combine([[r for part in parts for r in part]], fn)
    for name, value in combine(parts, fn).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-12)


def test_one_computation_per_model_takes_its_own_scores():
    computations = RetrievalMetrics(ks=[1]).computations(model_names=["candidate", "baseline"])
    extract = {SCORES_KEY: {"candidate": np.array(SCORED), "baseline": np.array(MISSED)}}
    found = {}
    for computation in computations:
        ((name, *_),) = {(key.model_name,) for key in computation.keys}
        (preprocessor,) = computation.preprocessors
        fn = computation.combiner
        total = fn.add_inputs(fn.create_accumulator(), preprocessor.process(extract))
        found[name] = {key.name: value for key, value in fn.extract_output(total).items()}["map@r"]
    assert found == {"candidate": 1 / 4, "baseline": 0}


def test_scores_of_other_ks_are_an_error():
    fn = combiner()
    with pytest.raises(ValueError, match=r"expects 12 scores per query but got .* \(5,\)"):
        fn.add_input(fn.create_accumulator(), np.ones(5))


def test_extracts_of_other_extractors_are_an_error():
    (computation,) = RetrievalMetrics(ks=[1]).computations(model_names=[""])
    with pytest.raises(ValueError, match=r"no retrieval scores among \['predictions'\]"):
        next(computation.preprocessors[0].process({"predictions": 0}))


def test_tfma_builds_it_from_module_class_and_config():
    spec = config_pb2.MetricsSpec(
        metrics=[
            config_pb2.MetricConfig(
                class_name="RetrievalMetrics",
                module="modules.retrieval.metrics",
                config=json.dumps({"ks": [1, 5, 10]}),
            )
        ]
    )
    (computation,) = metric_specs.to_computations([spec], config_pb2.EvalConfig())
    assert [key.name for key in computation.keys] == [
        *("precision@1", "precision@5", "precision@10"),
        *("precision_capped@1", "precision_capped@5", "precision_capped@10"),
        *("recall@1", "recall@5", "recall@10"),
        *("ndcg@1", "ndcg@5", "ndcg@10"),
        *("r_precision", "map@r", "mrr", "d_ap", "d_an"),
        *("queries", "excluded_queries", "non_finite_embeddings"),
        *("spread", "collapsed", "non_finite_gallery", "gallery_size"),
    ]
    more = RetrievalMetrics(ks=[1], verification=True, clustering=True).computations()
    assert [key.name for key in more[0].keys] == metric_names([1], True, True)


@pytest.mark.parametrize("has_baseline", [False, True])
def test_every_threshold_binds_to_a_computed_metric(has_baseline):
    thresholds = {name: {"lower": 0.5, "max_drop": 0.1} for name in score_names([1, 5])}
    config = update_eval_config_with_defaults(
        eval_config([1, 5], thresholds), has_baseline=has_baseline, rubber_stamp=True
    )
    computed = {
        key
        for computation in metric_specs.to_computations(list(config.metrics_specs), config)
        for key in computation.keys
    }
    bound = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    assert {key.name for key in bound} == {*thresholds, *NEVER}
    assert any(key.is_diff for key in bound) == has_baseline
    assert {key._replace(is_diff=False) for key in bound} <= computed


@pytest.mark.parametrize("ks", [[], [0], [5, 5]])
def test_ks_are_checked(ks):
    with pytest.raises(ValueError, match="ks must be different integers"):
        RetrievalMetrics(ks=ks)


@pytest.mark.parametrize("files", ["preview-*", [], [3]])
def test_gallery_files_are_patterns(files):
    with pytest.raises(ValueError, match="gallery_files must be a list of file patterns"):
        RetrievalMetrics(gallery_files=files)
