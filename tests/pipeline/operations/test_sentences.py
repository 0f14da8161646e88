"""The sentences about a run."""

from __future__ import annotations

import dataclasses

import pytest

from modules.gate import OperatingPoint, ThresholdShift
from pipeline.metadata import Evaluation, RunState, RunSummary
from pipeline.operations.sentences import (
    describe_operating_point,
    describe_rejections,
    describe_run,
    format_spans,
)

METRICS = {
    "candidate": {"map@r": 0.9, "precision@1": 0.96, "queries": 80.0},
    "baseline": {"map@r": 0.89, "precision@1": 0.97, "queries": 80.0},
}
BASE = RunSummary(
    "id", "2026-01-02 03:00:00", 9.0, RunState.PUSHED, span=5, window=(3, 4, 5), images=1200,
    metrics=METRICS, version="17", blessed=True,
)  # fmt: skip
BESIDE = "precision@1 0.9600 (last blessed 0.9700), map@r 0.9000 (last blessed 0.8900)"
READ = "span 5, window 3–5, 1,200 images"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, f"Pushed version 17, {BESIDE}; {READ}."),
        (
            {"state": RunState.REJECTED, "reason": "map@r: low"},
            f"Nothing was pushed: the model was rejected, {BESIDE}; {READ}: map@r: low",
        ),
        (
            {
                "state": RunState.DATA_REJECTED,
                "node": "ExampleValidator",
                "reason": "label is missing",
            },
            f"Nothing was pushed: ExampleValidator rejected the data; {READ}: label is missing",
        ),
        (
            {"state": RunState.FAILED, "node": "Trainer", "reason": "no room [on disk]"},
            "Nothing was pushed: Trainer failed: no room [on disk]",
        ),
        (
            {"state": RunState.KILLED, "node": "Trainer"},
            f"Nothing was pushed: the run was killed at Trainer; {READ}.",
        ),
        ({"state": RunState.RUNNING, "node": "Trainer"}, f"The run goes on, at Trainer; {READ}."),
    ],
)
def test_one_for_each_state(change: dict[str, str], sentence: str) -> None:
    run = dataclasses.replace(BASE, **change)
    assert list(describe_run(run, [run])) == [sentence]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({}, "The model of the run of 2026-01-02 03:00:00 is version 17."),
        (
            {"state": RunState.REJECTED, "reason": "low"},
            "The model of the run of 2026-01-02 03:00:00 was rejected: low",
        ),
    ],
)
def test_nothing_new_tells_where_the_model_came_from(source, sentence: str) -> None:
    earlier = dataclasses.replace(BASE, **source)
    killed = dataclasses.replace(BASE, state=RunState.KILLED, node="Trainer")
    now = RunSummary("now", "2026-01-04", 1.0, RunState.NOTHING_NEW, span=5)
    expected = f"Nothing was pushed: no new data, every node was cached; span 5. {sentence}"
    assert list(describe_run(now, [BASE, earlier, killed, now])) == [expected]


def test_a_skip_tells_what_it_forgoes_and_saves() -> None:
    skipped = RunSummary(
        "now", "2026-01-09", 3.0, RunState.SKIPPED, span=6, images=40, reason="it still fits"
    )
    said = "Skipped, nothing was trained; span 6, 40 images: it still fits"
    assert list(describe_run(skipped, [skipped])) == [said]
    index = {"images": 1700, "added": 40, "kept": 1660, "removed": 2}
    updated = dataclasses.replace(skipped, version="18", index=index)
    assert list(describe_run(updated, [updated])) == [
        said,
        "Version 18 has the same model and an index of 1,700 images: 40 added, 1,660 kept, "
        "2 removed.",
    ]
    first = dataclasses.replace(BASE, metrics={"candidate": METRICS["candidate"]})
    trained = dataclasses.replace(BASE, trained=True, training_seconds=100.0)  # 0.90 after 0.89
    assert list(describe_run(skipped, [first, trained, skipped])) == [
        said,
        "The last training changed map@r of the last blessed model by +0.0100 and took the "
        "Trainer 100 s: that is what skipping forgoes and saves.",
    ]
    worse = {"candidate": {"map@r": 0.86}, "baseline": {"map@r": 0.89}}
    failed = dataclasses.replace(trained, metrics=worse, training_seconds=50.0)
    oldest = dataclasses.replace(trained, training_seconds=9e9)
    # (4 · 0.01 − 0.03) / 5 and (4 · 100 + 50) / 5 of the last five; a run from the cache took none.
    runs = [oldest, *4 * [trained], dataclasses.replace(BASE), failed, skipped]
    assert list(describe_run(skipped, runs))[1] == (
        "The last 5 trainings changed map@r of the last blessed model by +0.0020 and took the "
        "Trainer 90 s each, on average: that is what skipping forgoes and saves."
    )
    again = RunSummary("again", "2026-01-10", 1.0, RunState.NOTHING_NEW, span=6)
    assert list(describe_run(again, [trained, skipped, again])) == [
        "Nothing was pushed: no new data, every node was cached; span 6. In the run of 2026-01-09 "
        "nothing was trained: it still fits"
    ]


def test_why_a_span_was_trained_on_is_told_where_that_was_asked() -> None:
    decided = dataclasses.replace(BASE, trained=True, decision="1 class is unknown")
    assert list(describe_run(decided, [decided]))[1:] == ["Trained, since 1 class is unknown."]


def test_rejections_are_told_and_whether_they_are_an_alarm() -> None:
    rejected = [
        RunSummary(str(day), f"2026-01-0{day}", 1.0, RunState.REJECTED) for day in (1, 2, 3)
    ]  # fmt: skip
    assert list(describe_rejections([BASE], 3)) == []
    assert list(describe_rejections(rejected[:1], 3)) == [
        "The model was rejected once since 2026-01-01."
    ]
    assert list(describe_rejections(rejected, 3)) == [
        "The model was rejected 3 times in a row since 2026-01-01 (alarm: alert_after = 3)."
    ]
    data = RunSummary("4", "2026-01-04", 1.0, RunState.DATA_REJECTED)
    assert list(describe_rejections([data], 3)) == ["The data was rejected once since 2026-01-04."]


@pytest.mark.parametrize(
    ("spans", "text"),
    [((), ""), ((3,), "3"), ((3, 4), "3, 4"), ((3, 4, 5), "3–5"), ((3, 5, 7), "3, 5, 7")],
)
def test_spans(spans: tuple[int, ...], text: str) -> None:
    assert format_spans(spans) == text


POINT = OperatingPoint(
    threshold=0.75, similarity=1 - 0.75 / 2, false_accept_rate=0.01,
    measured_false_accept_rate=0.0098, true_accept_rate=0.9, threshold_interval=(0.7, 0.8),
    measured_false_accept_rate_interval=(0.005, 0.02), true_accept_rate_interval=None,
    level=0.95, impostor_pairs=6000, genuine_pairs=300, splits=["eval"],
)  # fmt: skip
ACCEPTS = (
    "Operating point: a squared distance below 0.7500 [0.7000, 0.8000], a cosine similarity above "
    "0.6250, accepts 0.9000 of the pairs of one class and 0.009800 [0.005000, 0.020000] of two."
)


@pytest.mark.parametrize(
    ("point", "shift", "sentences"),
    [
        (None, None, []),
        (POINT, None, [ACCEPTS]),
        (POINT, ThresholdShift(), [ACCEPTS]),
        (
            POINT,
            ThresholdShift(stored=0.6, from_stored=0.15 / 0.6, baseline=0.5, from_baseline=0.5),
            [
                ACCEPTS,
                "The threshold is 25.00% from 0.6000, stored with the last blessed model, 50.00% "
                "from 0.5000, that model's on these images.",
            ],
        ),
    ],
)
def test_the_operating_point_and_how_far_it_has_moved(point, shift, sentences) -> None:
    evaluation = Evaluation({}, True, [], operating_point=point, shift=shift)
    assert list(describe_operating_point(evaluation)) == sentences
