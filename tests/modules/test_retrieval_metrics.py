"""The TFMA metric: sums, means, keys, and the names that thresholds bind to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import update_eval_config_with_defaults

from modules.evaluator import make_eval_config
from modules.retrieval import COUNTS, score_names
from modules.retrieval_metrics import RetrievalMetrics

NAMES = [*score_names([1]), *COUNTS]


def inputs(row, model_name: str = "") -> metric_types.StandardMetricInputs:
    row = np.array(row, dtype=np.float64)
    return metric_types.StandardMetricInputs(
        {"predictions": {model_name: row, "other": row * 0} if model_name else row}
    )


def combiner(model_name: str = ""):
    (computation,) = RetrievalMetrics(ks=[1]).computations(model_names=[model_name])
    return computation.combiner


def combine(parts, fn) -> dict[str, float]:
    """Runs the CombineFn as Beam does: one accumulator per part, then a merge."""
    accumulators = []
    for part in parts:
        accumulator = fn.create_accumulator()
        for row in part:
            accumulator = fn.add_input(accumulator, inputs(row))
        accumulators.append(accumulator)
    output = fn.extract_output(fn.merge_accumulators(accumulators))
    return {key.name: value for key, value in output.items()}


# precision@1, precision_capped@1, recall@1, r_precision, map@r, queries, excluded, non-finite
SCORED = [1, 1, 1, 1 / 2, 1 / 4, 1, 0, 0]
MISSED = [0, 0, 0, 0, 0, 1, 0, 1]
EXCLUDED = [np.nan] * 5 + [1, 1, 0]


def test_means_leave_out_the_excluded_and_counts_do_not():
    assert combine([[SCORED, EXCLUDED], [MISSED, SCORED]], combiner()) == {
        "precision@1": 2 / 3,
        "precision_capped@1": 2 / 3,
        "recall@1": 2 / 3,
        "r_precision": (1 / 2 + 1 / 2) / 3,
        "map@r": (1 / 4 + 1 / 4) / 3,
        "queries": 4,
        "excluded_queries": 1,
        "non_finite_embeddings": 1,
    }


def test_a_slice_of_excluded_queries_has_no_mean():
    values = combine([[EXCLUDED], [EXCLUDED]], combiner())
    assert (values["queries"], values["excluded_queries"]) == (2, 2)
    assert all(np.isnan(values[name]) for name in score_names([1]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([SCORED, MISSED, EXCLUDED]), max_size=5), min_size=1))
def test_the_partition_into_accumulators_does_not_matter(parts):
    fn = combiner()
    np.testing.assert_equal(combine(parts, fn), combine([[r for part in parts for r in part]], fn))


def test_one_computation_per_model_takes_its_own_scores():
    computations = RetrievalMetrics(ks=[1]).computations(model_names=["candidate", "baseline"])
    assert [{key.model_name for key in c.keys} for c in computations] == [
        {"candidate"},
        {"baseline"},
    ]
    for computation, name in zip(computations, ("candidate", "baseline"), strict=True):
        fn = computation.combiner
        total = fn.add_input(fn.create_accumulator(), inputs(SCORED, name))
        assert {k.name: v for k, v in fn.extract_output(total).items()}["map@r"] == 1 / 4


def test_scores_of_other_ks_are_an_error():
    fn = combiner()
    with pytest.raises(ValueError, match=r"expects 8 scores per query but got .* \(5,\)"):
        fn.add_input(fn.create_accumulator(), inputs([1.0] * 5))


def test_tfma_builds_it_from_module_class_and_config():
    spec = config_pb2.MetricsSpec(
        metrics=[
            config_pb2.MetricConfig(
                class_name="RetrievalMetrics",
                module="modules.retrieval_metrics",
                config=json.dumps({"ks": [1, 5, 10]}),
            )
        ]
    )
    (computation,) = metric_specs.to_computations([spec], config_pb2.EvalConfig())
    assert [key.name for key in computation.keys] == [
        *("precision@1", "precision@5", "precision@10"),
        *("precision_capped@1", "precision_capped@5", "precision_capped@10"),
        *("recall@1", "recall@5", "recall@10"),
        *("r_precision", "map@r"),
        *("queries", "excluded_queries", "non_finite_embeddings"),
    ]


@pytest.mark.parametrize("has_baseline", [False, True])
def test_every_threshold_binds_to_a_computed_metric(has_baseline):
    thresholds = {name: {"lower": 0.5, "max_drop": 0.1} for name in score_names([1, 5])}
    config = update_eval_config_with_defaults(
        make_eval_config([1, 5], thresholds), has_baseline=has_baseline, rubber_stamp=True
    )
    computed = {
        key
        for computation in metric_specs.to_computations(list(config.metrics_specs), config)
        for key in computation.keys
    }
    bound = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    assert {key.name for key in bound} == {*thresholds, "non_finite_embeddings"}
    assert any(key.is_diff for key in bound) == has_baseline
    assert {key._replace(is_diff=False) for key in bound} <= computed


@pytest.mark.parametrize("ks", [[], [0], [5, 5]])
def test_ks_are_checked(ks):
    with pytest.raises(ValueError, match="ks must be different integers"):
        RetrievalMetrics(ks=ks)
