"""The verdict on what was compared, and the thresholds of `[compatibility]`."""

from __future__ import annotations

import math

from modules.compatibility.report import ChurnReport, CompatibilityReport, Way
from modules.gate import OVERALL, Failure
from modules.settings import VERDICTS, CompatibilitySettings, Verdict

_ROUNDING = 1e-9  # 0.94 − 0.95 is a little below −0.01 in binary


def find_verdict(
    own: Way, ways: dict[Verdict, Way], dimensions: list[int], max_cross_drop: float
) -> tuple[Verdict, str]:
    """Says what an index of the old model's vectors needs, and why.

    Args:
        own: The old model in its own gallery.
        ways: By verdict.
        dimensions: Of the old embedding and the new one.
        max_cross_drop: P@1 and MAP@R may be so much below those of `own`.
    """
    if "keep" not in ways:
        old, new = dimensions
        return "re_embed", f"vectors of {old} and of {new} dimensions cannot be compared"
    searches: dict[Verdict, str] = {"keep": "new queries", "map": "mapped queries"}
    for verdict, what in searches.items():
        if verdict in ways and not _lost(own, ways[verdict], max_cross_drop):
            return verdict, (
                f"{what} find in the old vectors what the old model finds, within "
                f"{max_cross_drop:g}: {_found(own, ways[verdict])}"
            )
    best: Verdict = "map" if "map" in ways else "keep"
    what = "even mapped queries find" if best == "map" else "new queries find"
    return "re_embed", (
        f"{what} less in the old vectors than the old model, by more than "
        f"{max_cross_drop:g}: {_found(own, ways[best])}"
    )


def _lost(own: Way, way: Way, max_drop: float) -> bool:
    drops = own.precision_at_1 - way.precision_at_1, own.map_at_r - way.map_at_r
    return not all(drop <= max_drop + _ROUNDING for drop in drops)  # NaN is lost too


def _found(own: Way, way: Way) -> str:
    return (
        f"P@1 {way.precision_at_1:.4f} beside {own.precision_at_1:.4f}, "
        f"MAP@R {way.map_at_r:.4f} beside {own.map_at_r:.4f}"
    )


def judge_compatibility(
    report: CompatibilityReport, settings: CompatibilitySettings
) -> list[Failure]:
    """Says which thresholds a model does not meet.

    Args:
        report: Of the model.
        settings: `require` and `max_negative_flips`.
    """
    failures = []
    required = settings.require
    if required and VERDICTS.index(report.verdict) > VERDICTS.index(required):
        failures.append(
            Failure(
                "compatibility",
                OVERALL,
                None,
                f"the verdict is {report.verdict}, at most {required} is allowed: {report.why}",
            )
        )
    flips = report.ways["re_embed"].negative_flips
    failures += _above("negative flips", flips, settings.max_negative_flips)
    return failures


def judge_churn(report: ChurnReport, settings: CompatibilitySettings) -> list[Failure]:
    """Says which thresholds a model does not meet on the logged queries.

    Args:
        report: Of the model; without a single query no threshold is met.
        settings: `max_changed`, `min_overlap` and `max_outside`.
    """
    failures = _above("changed results", report.changed, settings.max_changed)
    lower = settings.min_overlap
    if lower is not None and not report.overlap >= lower - _ROUNDING:
        reason = f"{report.overlap:.4f} is below the threshold {lower:.4f}"
        failures.append(_failure(f"overlap@{report.k}", report.overlap, reason))
    failures += _above("queries outside", report.outside, settings.max_outside)
    return failures


def _above(name: str, value: float, upper: float | None) -> list[Failure]:
    if upper is None or value <= upper + _ROUNDING:
        return []
    reason = f"{value:.4f} is above the limit {upper:.4f} (by {value - upper:.4f})"
    return [_failure(name, value, reason)]


def _failure(name: str, value: float, reason: str) -> Failure:
    if math.isnan(value):
        return Failure(name, OVERALL, None, "there was nothing to measure it with")
    return Failure(name, OVERALL, value, reason)
