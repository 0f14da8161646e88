"""What the gate says of the operating point: whether it can be told, and whether it has moved.

An application compares distances with a fixed number. A model that is better by every metric can
still break it, when its distances have another scale: so the threshold is compared with the one
that was stored with the last blessed model, and may not be farther from it than a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from modules.gate.change_tests import ROUNDING
from modules.gate.operating_point import OperatingPoint, ThresholdShift
from modules.gate.report import BASELINE, CANDIDATE, OVERALL, Failure, Intervals, Metrics
from modules.retrieval import (
    OPERATING_FAR,
    OPERATING_FRR,
    OPERATING_THRESHOLD,
    PAIR_LEVEL,
)

ENOUGH_ERRORS = 30  # Doddington et al., "The NIST speaker recognition evaluation", 2000


def find_operating_point(
    metrics: Metrics,
    intervals: Intervals,
    rate: float,
    splits: Sequence[str],
    gallery_split: str | None = None,
) -> OperatingPoint | None:
    """Reads the candidate's operating point out of the metrics.

    Args:
        metrics: What `read_metrics` returned.
        intervals: What `read_intervals` returned.
        rate: The false accept rate that was asked for.
        splits: The queries.
        gallery_split: What they searched in; None: the queries themselves.

    Returns:
        None where there are too few pairs for this rate.
    """
    values = metrics[CANDIDATE][OVERALL]
    ends = intervals.get(CANDIDATE, {}).get(OVERALL, {})
    threshold = values[OPERATING_THRESHOLD]
    if not math.isfinite(threshold) or math.isnan(values[OPERATING_FRR]):
        return None
    rejected = ends.get(OPERATING_FRR)
    return OperatingPoint(
        threshold=threshold,
        similarity=1 - threshold / 2,
        false_accept_rate=rate,
        measured_false_accept_rate=values[OPERATING_FAR],
        true_accept_rate=1 - values[OPERATING_FRR],
        threshold_interval=ends.get(OPERATING_THRESHOLD),
        measured_false_accept_rate_interval=ends.get(OPERATING_FAR),
        true_accept_rate_interval=(1 - rejected[1], 1 - rejected[0]) if rejected else None,
        level=PAIR_LEVEL,
        impostor_pairs=int(values["impostor_pairs"]),
        genuine_pairs=int(values["genuine_pairs"]),
        splits=list(splits),
        gallery_split=gallery_split,
    )


def find_shift(
    point: OperatingPoint, metrics: Metrics, stored: OperatingPoint | None
) -> ThresholdShift | None:
    """Compares with the last blessed model.

    Args:
        point: The candidate's.
        metrics: What `read_metrics` returned.
        stored: What was stored with the last blessed model.

    Returns:
        None where there is no such model.
    """
    if BASELINE not in metrics:
        return None
    comparable = stored is not None and stored.false_accept_rate == point.false_accept_rate
    before = stored.threshold if stored and comparable else 0.0
    now = metrics[BASELINE][OVERALL].get(OPERATING_THRESHOLD, math.nan)
    return ThresholdShift(
        stored=before or None,
        from_stored=abs(point.threshold - before) / before if before else None,
        baseline=now if now > 0 else None,
        from_baseline=abs(point.threshold - now) / now if now > 0 else None,
    )


def describe_threshold(
    point: OperatingPoint | None,
    shift: ThresholdShift | None,
    metrics: Metrics,
    rate: float,
    max_shift: float | None,
) -> list[Failure]:
    """Says why the operating point does not do.

    Args:
        point: What `find_operating_point` returned.
        shift: What `find_shift` returned.
        metrics: What `read_metrics` returned.
        rate: The false accept rate that was asked for.
        max_shift: The bound of `from_stored`, inclusive; None for none.
    """
    values = metrics[CANDIDATE][OVERALL]
    if point is None:
        return [_failure(values[OPERATING_THRESHOLD], _untold(values, rate))]
    if max_shift is None or shift is None or shift.from_stored is None:
        return []
    if shift.from_stored <= max_shift + ROUNDING:
        return []
    way = "above" if point.threshold > (shift.stored or 0) else "below"
    reason = (
        f"{point.threshold:.4f} is {shift.from_stored:.2%} {way} the threshold that was stored "
        f"with the last blessed model ({shift.stored:.4f}), at most {max_shift:.2%} is allowed: "
        "applications that use it would err at another rate"
    )
    if shift.from_baseline is not None:
        reason += (
            f"; on the same images that model's own is {shift.baseline:.4f}, "
            f"{shift.from_baseline:.2%} away"
        )
    return [_failure(point.threshold, reason)]


def describe_few_errors(point: OperatingPoint) -> list[Failure]:
    """Says that a rate is known roughly only, which no model can be blamed for."""
    errors = point.false_accept_rate * point.impostor_pairs
    if errors >= ENOUGH_ERRORS:
        return []
    wanted = math.ceil(round(ENOUGH_ERRORS / point.false_accept_rate, 6))
    return [
        _failure(
            point.threshold,
            f"a false accept rate of {point.false_accept_rate:g} is {errors:,.1f} of "
            f"{point.impostor_pairs:,} pairs of two classes, so it is known roughly only; "
            f"{wanted:,} pairs would have {ENOUGH_ERRORS}",
        )
    ]


def _untold(values: dict[str, float], rate: float) -> str:
    pairs = values["impostor_pairs"]
    wanted = math.ceil(round(1 / rate, 6))
    if pairs >= wanted:
        return "there is no pair of one class among the evaluated images, or a distance is NaN"
    return (
        f"a false accept rate of {rate:g} needs at least {wanted:,} pairs of two classes, there "
        f"are {pairs:,.0f}: evaluate more images, or set a larger evaluation.false_accept_rate"
    )


def _failure(threshold: float, reason: str) -> Failure:
    return Failure(OPERATING_THRESHOLD, OVERALL, threshold, reason)
