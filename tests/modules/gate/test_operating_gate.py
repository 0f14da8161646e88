"""Which operating points are refused, and what is said of them."""

from __future__ import annotations

import math

import pytest

from modules.gate import (
    OperatingPoint,
    describe_few_errors,
    describe_threshold,
    find_operating_point,
    find_shift,
    read_operating_point,
)

RATE = 0.01


def metrics_of(threshold: float, pairs: int = 6000, baseline: float | None = None) -> dict:
    values = {"operating_far": 0.0098, "operating_frr": 0.2, "genuine_pairs": 300.0,
              "impostor_pairs": float(pairs)}  # fmt: skip
    found = {"candidate": {"overall": {**values, "operating_threshold": threshold}}}
    if baseline is not None:
        found["baseline"] = {"overall": {**values, "operating_threshold": baseline}}
    return found


def point_of(threshold: float, pairs: int = 6000, rate: float = RATE) -> OperatingPoint:
    point = find_operating_point(metrics_of(threshold, pairs), {}, rate, ["eval"])
    assert point is not None
    return point


def test_a_point_is_what_the_metrics_say():
    ends = {"operating_threshold": (0.5, 0.7), "operating_frr": (0.25, 0.125)[::-1]}
    intervals = {"candidate": {"overall": ends}}
    point = find_operating_point(metrics_of(0.6), intervals, RATE, ["eval"], "train")
    assert point == OperatingPoint(
        threshold=0.6, similarity=1 - 0.6 / 2, false_accept_rate=RATE,
        measured_false_accept_rate=0.0098, true_accept_rate=1 - 0.2,
        threshold_interval=(0.5, 0.7), measured_false_accept_rate_interval=None,
        true_accept_rate_interval=(1 - 0.25, 1 - 0.125), level=0.95,
        impostor_pairs=6000, genuine_pairs=300, splits=["eval"], gallery_split="train",
    )  # fmt: skip


def test_a_point_is_read_as_it_was_written(tmp_path):
    assert read_operating_point(str(tmp_path)) is None
    point = point_of(0.6).model_copy(update={"threshold_interval": (0.5, 0.7)})
    (tmp_path / "operating_point.json").write_text(point.model_dump_json(indent=1))
    assert read_operating_point(f"{tmp_path}/") == point


@pytest.mark.parametrize(
    ("threshold", "stored", "bound", "refused"),
    [
        (1.05, 1.0, 0.05, False),  # the bound itself, though 1.05 − 1 is above 0.05 in binary
        (0.95, 1.0, 0.05, False),
        (1.06, 1.0, 0.05, True),
        (0.94, 1.0, 0.05, True),
        (1.06, 1.0, None, False),
        (1.06, None, 0.05, False),  # a last blessed model without an operating point
    ],
)
def test_the_bound_is_of_the_stored_threshold_and_inclusive(threshold, stored, bound, refused):
    metrics, point = metrics_of(threshold, baseline=threshold), point_of(threshold)
    shift = find_shift(point, metrics, None if stored is None else point_of(stored))
    found = describe_threshold(point, shift, metrics, RATE, bound)
    assert bool(found) == refused
    if refused:
        way = "above" if threshold > stored else "below"
        assert f"6.00% {way} the threshold that was stored" in found[0].reason
        assert f"that model's own is {threshold:.4f}, 0.00% away" in found[0].reason


def test_a_point_at_another_rate_is_not_compared_with():
    metrics, point = metrics_of(1.0, baseline=0.5), point_of(1.0)
    shift = find_shift(point, metrics, point_of(0.5, rate=0.02))
    assert (shift.stored, shift.from_stored) == (None, None)
    assert (shift.baseline, shift.from_baseline) == (0.5, 1.0)
    assert find_shift(point, metrics_of(1.0), None) is None


def test_too_few_pairs_for_the_rate_are_refused():
    metrics = metrics_of(math.nan, pairs=99)
    assert find_operating_point(metrics, {}, RATE, ["eval"]) is None
    (failure,) = describe_threshold(None, None, metrics, RATE, None)
    assert str(failure) == (
        "operating_threshold (overall): a false accept rate of 0.01 needs at least 100 pairs of "
        "two classes, there are 99: evaluate more images, or set a larger "
        "evaluation.false_accept_rate"
    )


def test_few_errors_are_named():
    assert describe_few_errors(point_of(1.0, pairs=3000)) == []
    (note,) = describe_few_errors(point_of(1.0, pairs=2016))
    assert note.reason == (
        "a false accept rate of 0.01 is 20.2 of 2,016 pairs of two classes, so it is known "
        "roughly only; 3,000 pairs would have 30"
    )
