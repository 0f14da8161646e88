"""Operating points that cannot be found or kept are told before the first node."""

from __future__ import annotations

import re

import pytest

from pipeline.config import parse_config
from pipeline.definition import create_pipeline
from pipeline.runtime import ConfigError


def values(**evaluation) -> dict:
    return {
        "pipeline": {"name": "mine"},
        "data": {"path": "photos"},
        "evaluation": evaluation,
    }


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"false_accept_rate": 0.01}, "is a rate of pairs, which verification counts; set verif"),
        ({"verification": True, "false_accept_rate": 0.0}, "false_accept_rate: .*greater than 0"),
        ({"verification": True, "false_accept_rate": 1.0}, "false_accept_rate: .*less than 1"),
        (
            {"verification": True, "max_threshold_shift": 0.1},
            "max_threshold_shift binds the threshold that false_accept_rate finds; set one",
        ),
        (
            {"verification": True, "false_accept_rate": 0.01, "max_threshold_shift": 0.0},
            "max_threshold_shift: .*greater than 0",
        ),
        (
            {"verification": True, "thresholds": {"operating_frr": {"upper": 0.1}}},
            "no metric operating_frr to put into thresholds",
        ),
        (
            {
                "verification": True,
                "false_accept_rate": 0.01,
                "thresholds": {"operating_threshold": {"max_drop": 0.1}},
            },
            "thresholds.operating_threshold: neither way is better",
        ),
    ],
)
def test_faults_are_told_with_their_remedy(evaluation, message) -> None:
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)):
        parse_config(values(**evaluation), "test")


def test_the_evaluator_gets_the_verdict_on_the_last_blessed_model() -> None:
    point = {"verification": True, "false_accept_rate": 0.01, "max_threshold_shift": 0.1}
    for evaluation in ({"verification": True}, point):
        nodes = create_pipeline(parse_config(values(**evaluation), "test")).components
        evaluator = next(node for node in nodes if node.id == "Evaluator")
        has_point = "false_accept_rate" in evaluation
        assert ("baseline_blessing" in evaluator.inputs) == has_point
        assert evaluator.exec_properties.get("max_threshold_shift") == (0.1 if has_point else None)
