"""`no_worse` and `better`: what TFMA decides by them, and the words for it."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from modules.gate.change_tests import describe_undecided
from modules.gate.result import describe_failures, drop_undefined_failures
from modules.retrieval.definitions import NEVER
from modules.settings import EvaluationSettings, Threshold
from tests.gate_cases import eval_config, validate

SOUND = {"queries": 10.0, "excluded_queries": 0.0, **dict.fromkeys(NEVER, 0.0)}
BEFORE = 0.5


def judge(folder, metric, threshold, change, ends, *, where="overall", classes=50.0):
    """Blessed or not, why not, and what was passed without being told."""
    table = {"map@r": {"lower": 0}} if where != "overall" else {metric: threshold}
    of_slices = {"label": {metric: threshold}} if where != "overall" else {}
    config = eval_config([1], table, slice_thresholds=of_slices)
    values = {**SOUND, "map@r": 0.5}
    before = {"overall": values, where: {**values, metric: BEFORE}}
    now = {"overall": values, where: {**values, metric: BEFORE + change}}
    lower, upper = ends or (math.nan, math.nan)
    of_change = {
        f"{metric} lower": lower,
        f"{metric} upper": upper,
        "resampled classes": classes,
        "resampled queries": 0.0 if classes else 20.0,
        "interval level": 0.95,
    }
    # The metric has its keys in every slice.
    changes = {"overall": {**of_change, f"{metric} lower": 0.0}, where: of_change}
    metrics = validate(folder, config, now, before, changes)
    intervals = {"change": {where: {metric: ends}}} if ends else {}
    blessed = drop_undefined_failures(str(folder), metrics)
    failures = [str(one) for one in describe_failures(str(folder), metrics, intervals)]
    assert blessed == (not failures)
    passed = [str(one) for one in describe_undecided(config, metrics, intervals)]
    return blessed, failures, passed


tenths = st.integers(-6, 6).map(lambda number: number / 10)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    metric=st.sampled_from(["map@r", "d_ap"]),
    no_worse=st.sampled_from([None, 0.1, 0.3]),
    better=st.booleans(),
    undecided=st.sampled_from(["refuse", "bless"]),
    ends=st.one_of(st.none(), st.tuples(tenths, tenths).map(sorted).map(tuple)),
)
def test_tfma_decides_as_the_definition_says(tmp_path, metric, no_worse, better, undecided, ends):
    if no_worse is None and not better:
        return
    threshold = {"no_worse": no_worse, "better": better, "undecided": undecided}
    blessed, _, passed = judge(tmp_path, metric, threshold, 0.0, ends)
    lower, upper = ends or (-math.inf, math.inf)
    if metric == "d_ap":
        lower, upper = -upper, -lower
    tests = [] if no_worse is None else [(lower >= -no_worse, upper < -no_worse)]
    tests += [(lower > 0, upper < 0)] if better else []
    if undecided == "refuse":
        assert blessed == all(sure for sure, _ in tests)
        assert not passed
    else:
        assert blessed == (not any(wrong for _, wrong in tests))
        assert len(passed) == sum(not sure and not wrong for sure, wrong in tests)


@pytest.mark.parametrize(
    ("metric", "threshold", "change", "ends", "reason"),
    [
        (
            "map@r",
            {"no_worse": 0.005},
            -0.001,
            (-0.011, 0.008),
            "too few queries to tell whether it is no worse than by 0.0050: its change from the "
            "last blessed model is -0.0010, with the 95% interval -0.0110 to +0.0080 of 50 "
            "classes; about 409 classes would tell for an equally good model, so many classes "
            "tell differences from 0.0143 on",
        ),
        (
            "map@r",
            {"no_worse": 0.005},
            -0.02,
            (-0.03, -0.01),
            "it is worse by more than 0.0050: its change from the last blessed model is -0.0200, "
            "with the 95% interval -0.0300 to -0.0100 of 50 classes",
        ),
        (
            "d_ap",
            {"better": True},
            -0.01,
            (-0.03, 0.01),
            "too few queries to tell whether it is better: its change from the last blessed model "
            "is -0.0100, with the 95% interval -0.0300 to +0.0100 of 50 classes; about 409 "
            "classes would tell for such a change, so many classes tell differences from 0.0286 on",
        ),
        (
            "map@r",
            {"better": True},
            -0.01,
            (-0.03, 0.01),
            "too few queries to tell whether it is better: its change from the last blessed model "
            "is -0.0100, with the 95% interval -0.0300 to +0.0100 of 50 classes; so many classes "
            "tell differences from 0.0286 on",
        ),
        (
            "map@r",
            {"better": True},
            0.0,
            (0.0, 0.0),
            "it is as good as the last blessed model, not better: its change from the last "
            "blessed model is +0.0000, with the 95% interval +0.0000 to +0.0000 of 50 classes",
        ),
        (
            "map@r",
            {"better": True},
            0.1,
            None,
            "too few classes to tell: an interval of the change takes scored queries of 5 classes "
            "or more, or as many of the slice's one class, and there are 4 classes",
        ),
    ],
)
def test_reasons_in_words(tmp_path, metric, threshold, change, ends, reason):
    classes = 50.0 if ends else 4.0
    _, failures, _ = judge(tmp_path, metric, threshold, change, ends, classes=classes)
    assert failures == [f"{metric} (overall): {reason}"]


def test_slices_of_one_class_count_queries(tmp_path):
    threshold = {"no_worse": 0.1}
    blessed, failures, _ = judge(
        tmp_path, "map@r", threshold, -0.1, (-0.2, 0.0), where="label=3", classes=0.0
    )
    assert not blessed
    assert failures[0].startswith("map@r (label=3): too few queries to tell")
    assert "of 20 queries" in failures[0]
    bless = {**threshold, "undecided": "bless"}
    blessed, failures, passed = judge(
        tmp_path, "map@r", bless, -0.1, (-0.2, 0.0), where="label=3", classes=0.0
    )
    assert (blessed, failures) == (True, [])
    assert passed[0].startswith("map@r (label=3): too few queries to tell")


def test_a_slice_without_a_scored_query_is_not_bound(tmp_path):
    config = eval_config(
        [1], {"map@r": {"lower": 0}}, slice_thresholds={"label": {"mrr": {"better": True}}}
    )
    good, none = (
        {**SOUND, "map@r": 0.5, "mrr": 0.5},
        {"mrr": math.nan, "queries": 1, "excluded_queries": 1},
    )
    values = {"overall": good, "label=1": {**good, **none}}
    ends = {"mrr lower": math.nan, "mrr upper": math.nan}
    metrics = validate(tmp_path, config, values, values, dict.fromkeys(values, ends))
    assert drop_undefined_failures(str(tmp_path), metrics)


def test_a_first_model_passes(tmp_path):
    config = eval_config([1], {"map@r": {"no_worse": 0.01, "better": True}})
    metrics = validate(tmp_path, config, {"overall": {**SOUND, "map@r": 0.1}})
    assert drop_undefined_failures(str(tmp_path), metrics)
    assert describe_undecided(config, metrics, {}) == []


def test_what_is_rejected():
    with pytest.raises(ValueError, match=r"undecided has no effect without no_worse or better"):
        Threshold(lower=0.1, undecided="bless")
    with pytest.raises(ValueError, match=r"no_worse\s.*greater than 0"):
        Threshold(no_worse=0)
    for metric in ("queries", "spread"):
        with pytest.raises(ValueError, match=rf"thresholds\.{metric}: its change has no interval"):
            EvaluationSettings(thresholds={metric: {"better": True}})
