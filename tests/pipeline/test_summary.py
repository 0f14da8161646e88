"""What the summary says of a run; the numbers of real runs are checked in tests/e2e."""

from __future__ import annotations

import pytest
from tensorflow_model_analysis.proto import validation_result_pb2

from modules.evaluator import make_eval_config
from pipeline.runs import NodeRun, Run, _reason
from pipeline.summary import show


def failure(
    name: str, value: float, *, is_diff: bool = False
) -> validation_result_pb2.ValidationFailure:
    """A failure with the thresholds that the gate really uses."""
    config = make_eval_config(thresholds={"map@r": {"lower": 0.9, "max_drop": 0.02}})
    bound = config.metrics_specs[0].per_slice_thresholds[name].thresholds[0].threshold
    result = validation_result_pb2.ValidationFailure(metric_threshold=bound)
    result.metric_key.name = name
    result.metric_key.is_diff = is_diff
    result.metric_value.double_value.value = value
    return result


def test_reasons_say_which_threshold_and_by_how_much() -> None:
    assert _reason(failure("map@r", 0.85)) == "0.8500 is below the threshold 0.9000 (by 0.0500)"
    assert _reason(failure("map@r", -0.05, is_diff=True)) == (
        "0.0500 below the last blessed model, at most 0.0200 is allowed (missed by 0.0300)"
    )
    assert _reason(failure("non_finite_embeddings", 3)) == "3 is above the limit 0"


@pytest.mark.parametrize("message", ["[/data] has no images", "[bold]x", "shape [3, 28]"])
def test_a_message_with_brackets_is_shown_as_it_is(capsys, message: str) -> None:
    node = NodeRun("TripletGen", "failed", 1.0, message, {})
    show(Run("mine", "2026-01-01T00:00:00", [node], None, None))
    assert f"TripletGen failed: {message}" in capsys.readouterr().out
