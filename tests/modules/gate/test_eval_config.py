"""The gate: what it rejects, and that TFMA decides by it as its docstring says."""

from __future__ import annotations

import math

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings, strategies as st
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import proto_utils

from modules.gate.result import describe_failures, drop_undefined_failures
from modules.retrieval.definitions import NEVER
from modules.settings import EvaluationSettings, Threshold
from tests.gate_cases import eval_config, validate

KS = [1, 5]
SOUND = {"queries": 10.0, "excluded_queries": 0.0, **dict.fromkeys(NEVER, 0.0)}


def verdict(folder, config, candidate, baseline=None) -> tuple[bool, list[str]]:
    """Whether the model is blessed, and the lines that say why not."""
    candidate = {where: {**SOUND, **values} for where, values in candidate.items()}
    if baseline is not None:
        baseline = {where: {**SOUND, **values} for where, values in baseline.items()}
    metrics = validate(folder, config, candidate, baseline)
    blessed = drop_undefined_failures(str(folder), metrics)
    lines = [str(failure) for failure in describe_failures(str(folder), metrics)]
    assert blessed == (not lines)
    return blessed, lines


def gate(**threshold) -> config_pb2.EvalConfig:
    return eval_config(KS, {"map@r": threshold})


number = st.one_of(st.none(), st.integers(0, 10).map(lambda n: n / 10))
value = st.one_of(st.integers(0, 10).map(lambda n: n / 10), st.just(math.nan))


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["map@r", "d_ap"]),
    number,
    number,
    number,
    number,
    value,
    st.one_of(value, st.none()),
)
def test_tfma_decides_as_the_definition_says(
    tmp_path, metric, lower, upper, drop, relative, candidate, baseline
):
    fields = {"lower": lower, "upper": upper, "max_drop": drop, "max_relative_drop": relative}
    if all(v is None for v in fields.values()) or (lower or 0) > (1 if upper is None else upper):
        return
    expected = not math.isnan(candidate)
    expected &= lower is None or candidate >= lower
    expected &= upper is None or candidate <= upper
    if baseline is not None:
        worse = baseline - candidate if metric == "map@r" else candidate - baseline
        expected &= drop is None or worse <= drop + 1e-9
        expected &= relative is None or worse <= relative * baseline + 1e-9
    config = eval_config(KS, {metric: fields})
    blessed, _ = verdict(
        tmp_path,
        config,
        {"overall": {metric: candidate}},
        None if baseline is None else {"overall": {metric: baseline}},
    )
    assert blessed == expected


def test_exactly_what_is_allowed_passes(tmp_path):
    assert 0.94 - 0.95 < -0.01  # in binary
    blessed, _ = verdict(
        tmp_path, gate(max_drop=0.01), {"overall": {"map@r": 0.94}}, {"overall": {"map@r": 0.95}}
    )
    assert blessed


@pytest.mark.parametrize("metric", NEVER)
def test_a_broken_embedding_is_never_blessed(tmp_path, metric):
    blessed, lines = verdict(tmp_path, gate(lower=0), {"overall": {"map@r": 1.0, metric: 1.0}})
    assert not blessed
    assert [line.split(" ")[0] for line in lines] == [metric]


def by_label(**threshold) -> config_pb2.EvalConfig:
    return eval_config(
        KS, {"map@r": {"lower": 0.5}}, slice_thresholds={"label": {"map@r": threshold}}
    )


def test_every_slice_of_a_feature_is_bound_and_no_other(tmp_path):
    before = {"overall": 0.9, "label=0": 0.9, "label=1": 0.9, "camera=2": 0.9}
    now = {"overall": 0.8, "label=0": 0.86, "label=1": 0.84, "camera=2": 0.1}
    blessed, lines = verdict(
        tmp_path,
        by_label(max_drop=0.05),
        {where: {"map@r": value} for where, value in now.items()},
        {where: {"map@r": value} for where, value in before.items()},
    )
    assert not blessed
    assert lines == [
        "map@r (label=1): 0.8400 is 0.0600 below the last blessed model, at most 0.0500 is allowed "
        "(missed by 0.0100)"
    ]


def test_a_slice_without_a_scored_query_is_not_bound(tmp_path):
    nothing = {"map@r": math.nan, "queries": 1.0, "excluded_queries": 1.0}
    something = {"map@r": math.nan, "queries": 2.0, "excluded_queries": 1.0}
    good = {"map@r": 0.9}
    config = by_label(lower=0.8, max_drop=0.01, max_relative_drop=0.1)
    split = {"overall": good, "label=0": good, "label=1": nothing}
    assert verdict(tmp_path, config, split) == (True, [])
    assert verdict(tmp_path, config, split, split) == (True, [])
    blessed, lines = verdict(tmp_path, config, {**split, "label=1": something})
    assert not blessed
    assert lines == [
        "map@r (label=1): it is undefined (NaN), since there is nothing to compute it from"
    ]
    blessed, lines = verdict(tmp_path, config, {**split, "label=0": {"map@r": 0.7}})
    assert lines == ["map@r (label=0): 0.7000 is below the threshold 0.8000 (by 0.1000)"]


def test_the_whole_split_without_a_scored_query_is_not_blessed(tmp_path):
    nothing = {"map@r": math.nan, "excluded_queries": 10.0}
    assert not verdict(tmp_path, gate(max_drop=0.1), {"overall": nothing})[0]


@pytest.mark.parametrize(
    ("metric", "before", "now", "reason"),
    [
        ("map@r", 0.0, 0.0, None),
        ("map@r", 0.0, 0.4, None),
        ("d_ap", 0.0, 0.0, None),
        (
            "d_ap",
            0.0,
            0.2,
            "0.2000 is 0.2000 above the last blessed model (0.0000), at most 10.00% is allowed",
        ),
        (
            "map@r",
            0.8,
            0.6,
            "0.6000 is 25.00% below the last blessed model (0.8000), at most 10.00% is allowed",
        ),
    ],
)
def test_relative_changes_also_of_zero(tmp_path, metric, before, now, reason):
    config = eval_config(KS, {metric: {"max_relative_drop": 0.1}})
    now, before = {"overall": {metric: now}}, {"overall": {metric: before}}
    lines = [] if reason is None else [f"{metric} (overall): {reason}"]
    assert verdict(tmp_path, config, now, before) == (reason is None, lines)


def test_reasons_say_which_threshold_and_by_how_much(tmp_path):
    config = eval_config(
        KS, {"map@r": {"lower": 0.9, "max_drop": 0.02}, "d_ap": {"upper": 0.5}, "mrr": {"lower": 0}}
    )
    broken = {"non_finite_embeddings": 3.0, "non_finite_gallery": 4.0, "collapsed": 1.0}
    _, lines = verdict(
        tmp_path,
        config,
        {"overall": {"map@r": 0.85, "d_ap": 0.625, **broken}},
        {"overall": {"map@r": 0.9, "d_ap": 0.3}},
    )
    assert sorted(lines) == [
        "collapsed (overall): all embeddings lie practically at one point",
        "d_ap (overall): 0.6250 is above the limit 0.5000 (by 0.1250)",
        "map@r (overall): 0.8500 is 0.0500 below the last blessed model, at most 0.0200 is allowed "
        "(missed by 0.0300)",
        "map@r (overall): 0.8500 is below the threshold 0.9000 (by 0.0500)",
        "mrr (overall): it was not computed",
        "non_finite_embeddings (overall): 3 embeddings hold NaN or infinity",
        "non_finite_gallery (overall): 4 embeddings of the gallery hold NaN or infinity",
    ]


def test_the_configuration_survives_the_json_of_an_execution_property():
    config = eval_config(
        KS,
        {"map@r": {"max_drop": 0.1}, "eer": {"upper": 0.2}},
        slice_thresholds={"label": {"precision@1": {"max_relative_drop": 0.1}}},
        verification=True,
        confidence="jackknife",
    )
    read = config_pb2.EvalConfig()
    proto_utils.json_to_proto(proto_utils.proto_to_json(config), read)
    assert read == config
    assert json_format.MessageToDict(read.options)["confidenceIntervals"] == {"method": "JACKKNIFE"}


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"precision@2": {"lower": 0.5}}, r"no metric precision@2 to .*'precision@1'"),
        ({"roc_auc": {"lower": 0.5}}, "no metric roc_auc"),
        ({"collapsed": {"upper": 1}}, "no metric collapsed"),
        ({}, "at least 1 item"),
        (
            {"precision@1": {}},
            "at least one of lower, upper, max_drop, max_relative_drop, no_worse, better",
        ),
        ({"precision@1": {"lower": None, "max_drop": None}}, "at least one of lower, upper"),
        ({"precision@1": {"lower": 0.5, "drop": 0.1}}, r"precision@1\.drop\s.*not permitted"),
        ({"precision@1": {"lower": math.nan}}, r"precision@1\.lower\s.*finite number"),
        ({"precision@1": {"upper": math.inf}}, r"precision@1\.upper\s.*finite number"),
        ({"precision@1": {"max_drop": -0.1}}, r"precision@1\.max_drop\s.*than or equal to 0"),
        ({"precision@1": {"lower": 0.6, "upper": 0.5}}, "nothing passes"),
    ],
)
def test_thresholds_that_would_bind_to_nothing(thresholds, message):
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(ks=KS, thresholds=thresholds)


def test_what_else_is_rejected():
    with pytest.raises(ValueError, match=r"slice_thresholds has colour, .* slice_by \(label\)"):
        EvaluationSettings(slice_thresholds={"colour": {"map@r": {"lower": 0.1}}})
    with pytest.raises(ValueError, match=r"no metric nmi to put into slice_thresholds\.label"):
        EvaluationSettings(slice_thresholds={"label": {"nmi": {"lower": 0.1}}}, clustering=True)
    with pytest.raises(ValueError, match=r"eer_threshold: neither way is better"):
        EvaluationSettings(thresholds={"eer_threshold": {"max_drop": 0.1}}, verification=True)
    with pytest.raises(ValueError, match=r"confidence\s.*'jackknife' or 'poisson_bootstrap'"):
        EvaluationSettings(confidence="bayes")
    with pytest.raises(ValueError, match="needs at least one of"):
        Threshold()
