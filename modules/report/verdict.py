"""The thresholds of the gate in words: what was asked, what was reached, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from modules.gate import BASELINE, CANDIDATE, CHANGE, OVERALL, EvaluationReport
from modules.report.charts import Change
from modules.report.numbers import page_number, signed
from modules.retrieval import LOWER_IS_BETTER
from modules.settings import EvaluationSettings, Threshold

_ROUNDING = 1e-9
_SHOWN_CHANGES = 3


class Check(NamedTuple):
    """A bound.

    Attributes:
        metric: Its name.
        asked: In words.
        value: What was compared with it.
        margin: By how much it is met, or missed; empty where that cannot be told.
        met: None if it cannot be told.
    """

    metric: str
    asked: str
    value: str
    margin: str
    met: bool | None


def checks(settings: EvaluationSettings, report: EvaluationReport) -> list[Check]:
    """All bounds, those of the whole split first."""
    found = [
        check
        for metric, threshold in settings.thresholds.items()
        for check in _of_metric(metric, threshold, report)
    ]
    for feature, thresholds in settings.slice_thresholds.items():
        slices = [name for name in report.metrics[CANDIDATE] if name.startswith(f"{feature}=")]
        for metric in thresholds:
            missed = {
                failure.slice
                for failure in report.failures
                if failure.metric == metric and failure.slice.startswith(f"{feature}=")
            }
            text = f"{len(slices) - len(missed):,} of {len(slices):,}"
            asked = f"in every slice of {feature}"
            found.append(Check(metric, asked, text, "", not missed))
    return found


def _of_metric(metric: str, threshold: Threshold, report: EvaluationReport) -> Iterator[Check]:
    value = report.metrics[CANDIDATE][OVERALL].get(metric, math.nan)
    shown = page_number(value, metric)
    if threshold.lower is not None:
        yield _check(metric, f"at least {threshold.lower:g}", shown, value - threshold.lower)
    if threshold.upper is not None:
        yield _check(metric, f"at most {threshold.upper:g}", shown, threshold.upper - value)
    baseline = report.metrics.get(BASELINE)
    if baseline is None:
        if threshold.compares or threshold.asks_interval:
            asked = "no worse than the last blessed model"
            yield Check(metric, asked, shown, "there is none yet", True)
        return
    before = baseline[OVERALL].get(metric, math.nan)
    better = -1 if metric in LOWER_IS_BETTER else 1
    gain = better * (value - before)
    change = signed(value - before)
    if (drop := threshold.max_drop) is not None:
        asked = f"at most {drop:g} worse than the last blessed model"
        yield _check(metric, asked, change, gain + drop)
    if (part := threshold.max_relative_drop) is not None:
        asked = f"at most {part:.4g} of it worse than the last blessed model"
        yield _check(metric, asked, change, gain + part * before)
    interval = report.intervals.get(CHANGE, {}).get(OVERALL, {}).get(metric)
    for asks, least, asked in (
        (threshold.no_worse is not None, -(threshold.no_worse or 0), "surely not {0:g} worse"),
        (threshold.better, 0.0, "surely better"),
    ):
        if asks:
            words = asked.format(threshold.no_worse)
            if interval is None:
                passed = True if threshold.undecided == "bless" else None
                yield Check(metric, words, change, "too few classes to tell", passed)
            else:
                worst = min(better * end for end in interval)
                text = f"{change} [{signed(interval[0])}, {signed(interval[1])}]"
                yield _check(metric, words, text, worst - least)


def _check(metric: str, asked: str, value: str, margin: float) -> Check:
    if not math.isfinite(margin):
        return Check(metric, asked, value, "", False)
    met = margin >= -_ROUNDING
    return Check(metric, asked, value, f"{'by' if met else 'missed by'} {abs(margin):.4f}", met)


def changes(settings: EvaluationSettings, report: EvaluationReport) -> list[Change]:
    """The changes of the main metrics from the last blessed model; none without one."""
    of_change = report.metrics.get(CHANGE, {}).get(OVERALL, {})
    names = [*settings.thresholds, f"precision@{settings.ks[0]}", "map@r", "r_precision"]
    intervals = report.intervals.get(CHANGE, {}).get(OVERALL, {})
    found = []
    for name in dict.fromkeys(names):
        value = of_change.get(name, math.nan)
        if math.isfinite(value):
            threshold = settings.thresholds.get(name)
            drop = threshold and (threshold.max_drop or threshold.no_worse)
            bound = None if not drop else (drop if name in LOWER_IS_BETTER else -drop)
            found.append(Change(name, value, intervals.get(name), bound))
    return found[:_SHOWN_CHANGES]
