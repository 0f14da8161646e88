"""What the gate decided and why, read from the files that TFMA wrote; `report` holds it for others.

Import `tfx.v1` before this module: alone, TFMA can come up without its protos.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow_model_analysis import constants, load_metrics, load_validation_result
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2

from modules.gate.change_tests import ChangeTest
from modules.gate.operating_point import OperatingPoint, ThresholdShift
from modules.gate.report import (
    BASELINE,
    CANDIDATE,
    CHANGE,
    OVERALL,
    EvaluationReport,
    Failure,
    Intervals,
    Metrics,
    report_path,
)
from modules.retrieval import (
    OPERATING_SET_NAMES,
    lower_end,
    metric_of_end,
    metric_range,
    set_names,
    upper_end,
)


def read_metrics(evaluation: str) -> Metrics:
    """Reads the metrics of an evaluation.

    Args:
        evaluation: Folder that TFMA wrote, the uri of Evaluator's `evaluation`.

    Returns:
        `candidate`, and with a baseline `baseline` and `change` → slice → metric → value. Metrics
        of the evaluated set as a whole are there for the whole of it only: TFMA fills them with NaN
        in each slice.
    """
    of_whole = {*set_names(verification=True, clustering=True), *OPERATING_SET_NAMES}
    metrics: Metrics = {}
    for record in load_metrics(evaluation):
        name = slice_name(record.slice_key)
        for item in record.metric_keys_and_values:
            kind, _ = _kind_and_name(item.key)
            values = metrics.setdefault(kind, {}).setdefault(name, {})
            of_slice = name == OVERALL or item.key.name not in of_whole
            if of_slice and metric_of_end(item.key.name) is None:
                values[item.key.name] = item.value.double_value.value
    return metrics


def read_intervals(evaluation: str) -> Intervals:
    """Reads the confidence intervals of an evaluation, all within the range of their metric.

    Args:
        evaluation: As of `read_metrics`.

    Returns:
        As `read_metrics`, but with lower and upper bound in place of the value, and only the
        metrics that have finite ones. Those of `change` are `RetrievalChanges`'s, of its level;
        TFMA's own (95%), of the models, are there if they were asked for.
    """
    intervals: Intervals = {}
    for record in load_metrics(evaluation):
        name = slice_name(record.slice_key)
        values = {_kind_and_name(item.key): item for item in record.metric_keys_and_values}
        for (kind, metric), item in values.items():
            lower, upper = (
                _value(values.get((kind, end(metric)))) for end in (lower_end, upper_end)
            )
            if kind != CHANGE and item.HasField("confidence_interval"):
                interval = item.confidence_interval
                lower, upper = (
                    interval.lower_bound.double_value.value,
                    interval.upper_bound.double_value.value,
                )
            if math.isfinite(lower) and math.isfinite(upper):
                least, largest = metric_range(metric, change=kind == CHANGE)
                bounds = max(lower, least), min(upper, largest)
                intervals.setdefault(kind, {}).setdefault(name, {})[metric] = bounds
    return intervals


def _kind_and_name(key: Any) -> tuple[str, str]:
    return CHANGE if key.is_diff else key.model_name or CANDIDATE, key.name


def _value(item: Any | None) -> float:
    return math.nan if item is None else item.value.double_value.value


def write_report(
    evaluation: str,
    metrics: Metrics,
    failures: Iterable[Failure],
    *,
    intervals: Intervals | None = None,
    undecided: Iterable[Failure] = (),
    operating_point: OperatingPoint | None = None,
    shift: ThresholdShift | None = None,
) -> None:
    """Writes the report of an evaluation beside TFMA's files; see `modules.gate.report`.

    Args:
        evaluation: Folder that TFMA wrote.
        metrics: What `read_metrics` returned for it.
        failures: What `describe_failures` returned for it.
        intervals: What `read_intervals` returned for it, if they were read already.
        undecided: What `describe_undecided` returned for it.
        operating_point: What `find_operating_point` returned for it.
        shift: What `find_shift` returned for it.
    """
    report = EvaluationReport(
        metrics=metrics,
        intervals=read_intervals(evaluation) if intervals is None else intervals,
        failures=list(failures),
        undecided=list(undecided),
        operating_point=operating_point,
        shift=shift,
    )
    with tf.io.gfile.GFile(report_path(evaluation), "w") as file:
        file.write(report.model_dump_json(indent=1))


def slice_name(slice_key: Any) -> str:
    """Words for a SliceKey proto, such as `label=3`."""
    parts = [f"{part.column}={_text(part)}" for part in slice_key.single_slice_keys]
    return ", ".join(parts) or OVERALL


def _text(part: Any) -> str:
    value = getattr(part, part.WhichOneof("kind"))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def describe_failures(
    evaluation: str, metrics: Metrics | None = None, intervals: Intervals | None = None
) -> list[Failure]:
    """Says which thresholds were not met, the whole split first.

    Args:
        evaluation: Folder that TFMA wrote.
        metrics: What `read_metrics` returned for it, if it was read already.
        intervals: What `read_intervals` returned for it, if it was read already.
    """
    metrics = read_metrics(evaluation) if metrics is None else metrics
    if intervals is None:
        intervals = read_intervals(evaluation) if CHANGE in metrics else {}
    result = load_validation_result(evaluation)
    found = [
        Failure("thresholds", _spec_name(spec), None, "no evaluated example is in such a slice")
        for spec in result.missing_slices
    ]
    for checked in result.metric_validations_per_slice:
        where = slice_name(checked.slice_key)
        for failure in checked.failures:
            test = _change_test(failure)
            metric = test.metric if test else failure.metric_key.name
            value = metrics[CANDIDATE].get(where, {}).get(metric)
            if test and value is not None:
                found.append(
                    Failure(metric, where, value, test.describe(metrics, intervals, where))
                )
                continue
            before = metrics.get(BASELINE, {}).get(where, {}).get(metric)
            reasons = "; ".join(_reasons(failure, value, before))
            found.append(Failure(metric, where, value, reasons))
    return sorted(found, key=lambda failure: (failure.slice != OVERALL, failure.slice))


def _change_test(failure: Any) -> ChangeTest | None:
    return ChangeTest.read(failure.metric_key.name, failure.metric_threshold.change_threshold)


def _spec_name(spec: config_pb2.SlicingSpec) -> str:
    """Words for a SlicingSpec proto, such as `label` (each of its values) or `label=3`."""
    parts = [*spec.feature_keys, *(f"{key}={value}" for key, value in spec.feature_values.items())]
    return ", ".join(parts) or OVERALL


def _reasons(failure: Any, value: float | None, before: float | None) -> Iterator[str]:
    """What the threshold asked for and by how much the value misses it."""
    if value is None:
        yield "it was not computed"
    elif failure.metric_key.is_diff:
        change = failure.metric_threshold.change_threshold
        yield from _reasons_of_change(change, value, math.nan if before is None else before)
    elif failure.metric_key.name == "non_finite_embeddings":
        yield f"{value:,.0f} embeddings hold NaN or infinity"
    elif failure.metric_key.name == "non_finite_gallery":
        yield f"{value:,.0f} embeddings of the gallery hold NaN or infinity"
    elif failure.metric_key.name == "collapsed":
        yield "all embeddings lie practically at one point"
    elif math.isnan(value):
        yield "it is undefined (NaN), since there is nothing to compute it from"
    else:
        limits = failure.metric_threshold.value_threshold
        if value < limits.lower_bound.value:
            bound = limits.lower_bound.value
            yield f"{value:.4f} is below the threshold {bound:.4f} (by {bound - value:.4f})"
        else:
            bound = limits.upper_bound.value
            yield f"{value:.4f} is above the limit {bound:.4f} (by {value - bound:.4f})"


def _reasons_of_change(change: Any, value: float, before: float) -> Iterator[str]:
    """The same against the last blessed model."""
    worse, side = before - value, "below"
    if change.direction == config_pb2.MetricDirection.LOWER_IS_BETTER:
        worse, side = -worse, "above"
    if not math.isfinite(worse):
        yield f"{value:.4f} cannot be compared with {before:.4f}, of the last blessed model"
        return
    if change.HasField("absolute") and worse > (allowed := abs(change.absolute.value)):
        yield (
            f"{value:.4f} is {worse:.4f} {side} the last blessed model, at most {allowed:.4f} is "
            f"allowed (missed by {worse - allowed:.4f})"
        )
    if change.HasField("relative") and worse > (allowed := abs(change.relative.value)) * before:
        share = f"{worse / before:.2%}" if before else f"{worse:.4f}"
        yield (
            f"{value:.4f} is {share} {side} the last blessed model ({before:.4f}), at most "
            f"{allowed:.2%} is allowed"
        )


def drop_undefined_failures(evaluation: str, metrics: Metrics) -> bool:
    """Takes back the failures that TFMA reports where there is nothing to compare, in its file.

    TFMA counts a comparison with NaN as failed. Two of them are no fault of the candidate and
    would keep every further model from being blessed:

    - a slice of queries without any positive in the gallery (a class with one image) has no
      scores, so a threshold of each slice says nothing about it;
    - the relative change of a metric that was 0 in the last blessed model and is no worse now.

    So does a change without an interval, of too few queries, where the threshold has
    `undecided = "bless"`.

    Args:
        evaluation: Folder that TFMA wrote, with a validation result.
        metrics: What `read_metrics` returned for it.

    Returns:
        Whether every threshold is met.
    """
    result = load_validation_result(evaluation)
    dropped = 0
    for checked in result.metric_validations_per_slice:
        where = slice_name(checked.slice_key)
        kept = [failure for failure in checked.failures if _says_something(failure, where, metrics)]
        dropped += len(checked.failures) - len(kept)
        del checked.failures[:]
        checked.failures.extend(kept)
    if dropped:
        left = [checked for checked in result.metric_validations_per_slice if checked.failures]
        del result.metric_validations_per_slice[:]
        result.metric_validations_per_slice.extend(left)
        missing = result.missing_slices or result.missing_cross_slices
        result.validation_ok = not left and not missing
        _write(evaluation, result)
    return result.validation_ok


def _says_something(failure: Any, where: str, metrics: Metrics) -> bool:
    """Whether the failure is one of the candidate's."""
    values = metrics[CANDIDATE].get(where, {})
    test = _change_test(failure)
    value = values.get(test.metric if test else failure.metric_key.name)
    if value is None:
        return True
    if where != OVERALL and math.isnan(value):
        return values["queries"] > values["excluded_queries"]
    if test:
        # Without an interval a test cannot tell.
        return test.strict or not math.isnan(failure.metric_value.double_value.value)
    change = failure.metric_threshold.change_threshold
    if not failure.metric_key.is_diff or not change.HasField("relative"):
        return True
    before = metrics[BASELINE][where][failure.metric_key.name]
    return before != 0 or any(_reasons_of_change(change, value, before))


def _write(evaluation: str, result: validation_result_pb2.ValidationResult) -> None:
    """Replaces the one record of TFMA's validation file."""
    (path,) = tf.io.gfile.glob(f"{evaluation}/{constants.VALIDATIONS_KEY}*.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(result.SerializeToString())
