"""What Evaluator makes of the operating point: the point itself, and the verdict on it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.types import standard_component_specs
from tfx.utils import json_utils

from modules.gate import (
    METRIC_CLASS,
    Failure,
    Intervals,
    Metrics,
    OperatingPoint,
    ThresholdShift,
    describe_few_errors,
    describe_threshold,
    find_operating_point,
    find_shift,
    read_operating_point,
)

BASELINE_BLESSING_KEY = "baseline_blessing"
MAX_SHIFT_KEY = "max_threshold_shift"


@dataclasses.dataclass(frozen=True)
class Operating:
    """The operating point of the candidate.

    Attributes:
        point: None if none was asked for, or none can be told.
        shift: How far its threshold is from that of the last blessed model, if there is one.
        failures: Why the model is not blessed.
        notes: What was passed, and is worth a word.
    """

    point: OperatingPoint | None = None
    shift: ThresholdShift | None = None
    failures: Sequence[Failure] = ()
    notes: list[Failure] = dataclasses.field(default_factory=list)


def judge_operating_point(
    input_dict: Mapping[str, Sequence[types.Artifact]],
    exec_properties: Mapping[str, Any],
    metrics: Metrics,
    intervals: Intervals,
) -> Operating:
    """Reads the operating point out of the metrics and compares it with the last blessed model's.

    Args:
        input_dict: Of Evaluator; `baseline_blessing` may have an operating point.
        exec_properties: Of Evaluator, its `eval_config` with the false accept rate.
        metrics: What `modules.gate.read_metrics` returned.
        intervals: What `modules.gate.read_intervals` returned.
    """
    rate = _false_accept_rate(exec_properties)
    if rate is None:
        return Operating()
    splits = exec_properties.get(standard_component_specs.EXAMPLE_SPLITS_KEY)
    evaluated = json_utils.loads(splits or "null") or ["eval"]
    point = find_operating_point(
        metrics, intervals, rate, evaluated, exec_properties.get("gallery_split")
    )
    shift = None
    if point:
        blessings = input_dict.get(BASELINE_BLESSING_KEY) or []
        stored = read_operating_point(blessings[0].uri) if blessings else None
        shift = find_shift(point, metrics, stored)
    max_shift = exec_properties.get(MAX_SHIFT_KEY)
    return Operating(
        point,
        shift,
        describe_threshold(point, shift, metrics, rate, max_shift),
        describe_few_errors(point) if point else [],
    )


def _false_accept_rate(exec_properties: Mapping[str, Any]) -> float | None:
    eval_config = json.loads(exec_properties[standard_component_specs.EVAL_CONFIG_KEY])
    for spec in eval_config["metrics_specs"]:
        for metric in spec["metrics"]:
            if metric["class_name"] == METRIC_CLASS:
                rate: float | None = json.loads(metric["config"]).get("false_accept_rate")
                return rate
    return None
