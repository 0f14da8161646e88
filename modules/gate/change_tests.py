"""`no_worse` and `better`: tests of the interval of a change, as thresholds of TFMA and in words.

TFMA decides them, as it decides every threshold, since the ends of an interval are metrics: with
`undecided = "refuse"` the end on the worse side must be beyond the bound, so all of the interval
is; with `"bless"` the other end must, so not all of it is on the wrong side. Where there is no
baseline TFX drops thresholds of change, so a first model passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.wrappers_pb2 import DoubleValue
from tensorflow_model_analysis.proto import config_pb2

from modules.gate.report import CANDIDATE, CHANGE, OVERALL, Failure, Intervals, Metrics
from modules.retrieval import (
    INTERVAL_LEVEL,
    LEAST_CLASSES,
    LOWER_IS_BETTER,
    RESAMPLED_CLASSES,
    RESAMPLED_QUERIES,
    classes_needed,
    detectable,
    lower_end,
    metric_of_end,
    upper_end,
)
from modules.settings import Threshold

# 0.94 − 0.95 is a little below −0.01 in binary: a drop of exactly what is allowed must pass. And
# the sum of differences that cancel out may be a little above 0, which is not better.
ROUNDING = 1e-9


def interval_thresholds(
    name: str, threshold: Threshold
) -> Iterator[tuple[str, config_pb2.GenericChangeThreshold]]:
    """Writes `no_worse` and `better` as TFMA has thresholds, each with the end that it binds."""
    less = name in LOWER_IS_BETTER
    strict = threshold.undecided == "refuse"
    end = lower_end(name) if strict != less else upper_end(name)
    bounds = []
    if threshold.no_worse is not None:
        bounds.append(-threshold.no_worse - ROUNDING)
    if threshold.better:
        bounds.append(ROUNDING if strict else 0.0)
    for bound in bounds:
        yield (
            end,
            config_pb2.GenericChangeThreshold(
                absolute=DoubleValue(value=-bound if less else bound),
                direction=config_pb2.MetricDirection.LOWER_IS_BETTER
                if less
                else config_pb2.MetricDirection.HIGHER_IS_BETTER,
            ),
        )


@dataclass(frozen=True)
class ChangeTest:
    """One test of one interval, with "better" upwards whatever the metric.

    Attributes:
        metric: Name of the metric.
        margin: `no_worse`; 0 for `better`.
        strict: Whether an interval that cannot tell is refused.
    """

    metric: str
    margin: float
    strict: bool

    @classmethod
    def read(cls, end: str, change: config_pb2.GenericChangeThreshold) -> ChangeTest | None:
        """Reads what `interval_thresholds` wrote; None if the metric is no end of an interval."""
        metric = metric_of_end(end)
        if metric is None:
            return None
        less = metric in LOWER_IS_BETTER
        bound = -change.absolute.value if less else change.absolute.value
        margin = -bound - ROUNDING if bound < 0 else 0.0
        return cls(metric, margin, (end == lower_end(metric)) != less)

    def cannot_tell(self, ends: tuple[float, float] | None) -> bool:
        """Whether the interval, as of `Intervals`, holds the bound; None is one without ends."""
        lower, upper = self._upwards(ends)
        if math.isnan(lower):
            return True
        if self.margin:
            return lower < -self.margin - ROUNDING <= upper
        return lower < ROUNDING and upper >= 0

    def describe(self, metrics: Metrics, intervals: Intervals, where: str) -> str:
        """Says in one line why the test is not passed, or what it cannot tell.

        Args:
            metrics: What `read_metrics` returned.
            intervals: What `read_intervals` returned.
            where: The slice.
        """
        of_slice = metrics[CHANGE][where]
        ends = intervals.get(CHANGE, {}).get(where, {}).get(self.metric)
        classes, queries = of_slice[RESAMPLED_CLASSES], of_slice[RESAMPLED_QUERIES]
        units, noun = (classes, "classes") if classes else (queries, "queries")
        if ends is None:
            return (
                f"too few {noun} to tell: an interval of the change takes scored queries of "
                f"{LEAST_CLASSES} classes or more, or as many of the slice's one class, and there "
                f"are {units:,.0f} {noun}"
            )
        level = of_slice[INTERVAL_LEVEL]
        change = of_slice[self.metric]
        found = (
            f"its change from the last blessed model is {change:+.4f}, with the {100 * level:.4g}% "
            f"interval {ends[0]:+.4f} to {ends[1]:+.4f} of {units:,.0f} {noun}"
        )
        if not self.cannot_tell(ends):
            wrong = f"worse by more than {self.margin:.4f}" if self.margin else "worse"
            return f"it is {wrong}: {found}"
        lower, upper = self._upwards(ends)
        if lower == upper == 0:
            return f"it is as good as the last blessed model, not better: {found}"
        asked = f"no worse than by {self.margin:.4f}" if self.margin else "better"
        return f"{_TOO_FEW} whether it is {asked}: {found}; " + self._needed(
            -change if self.metric in LOWER_IS_BETTER else change, lower, of_slice
        )

    def _needed(self, change: float, lower: float, of_slice: dict[str, float]) -> str:
        """What would tell, for the change and the end of its interval on the worse side."""
        level = of_slice[INTERVAL_LEVEL]
        by_class = bool(of_slice[RESAMPLED_CLASSES])
        units = int(of_slice[RESAMPLED_CLASSES if by_class else RESAMPLED_QUERIES])
        noun = "classes" if by_class else "queries"
        wanted = self.margin or change
        least = f"so many {noun} tell differences from {detectable(change - lower, level):.4f} on"
        if wanted <= 0:
            return least
        needed = classes_needed(units, change - lower, wanted, level)
        whom = "an equally good model" if self.margin else "such a change"
        return f"about {needed:,} {noun} would tell for {whom}, {least}"

    def _upwards(self, ends: tuple[float, float] | None) -> tuple[float, float]:
        if ends is None:
            return math.nan, math.nan
        return (-ends[1], -ends[0]) if self.metric in LOWER_IS_BETTER else ends


def change_tests(
    eval_config: config_pb2.EvalConfig,
) -> Iterator[tuple[config_pb2.SlicingSpec, ChangeTest]]:
    """Reads the tests of a configuration of `make_eval_config`, each with its slices."""
    for spec in eval_config.metrics_specs:
        for name, bound in spec.per_slice_thresholds.items():
            for one in bound.thresholds:
                test = ChangeTest.read(name, one.threshold.change_threshold)
                if test is not None:
                    yield from ((slices, test) for slices in one.slicing_specs)


def describe_undecided(
    eval_config: config_pb2.EvalConfig, metrics: Metrics, intervals: Intervals
) -> list[Failure]:
    """Says which tests could not tell and were passed, since `undecided` is "bless".

    Args:
        eval_config: As `make_eval_config` writes it.
        metrics: What `read_metrics` returned; without a baseline there is nothing to tell.
        intervals: What `read_intervals` returned.
    """
    notes = []
    for slices, test in change_tests(eval_config):
        for where, values in metrics.get(CHANGE, {}).items():
            feature = where.split("=")[0] if where != OVERALL else None
            if test.strict or [feature] != (list(slices.feature_keys) or [None]):
                continue
            ends = intervals.get(CHANGE, {}).get(where, {}).get(test.metric)
            if test.cannot_tell(ends) and not math.isnan(values[test.metric]):
                value = metrics[CANDIDATE][where][test.metric]
                reason = test.describe(metrics, intervals, where)
                notes.append(Failure(test.metric, where, value, reason))
    return notes


_TOO_FEW = "too few queries to tell"
