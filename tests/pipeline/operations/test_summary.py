"""What the summary says of a run; the numbers of real runs are checked in tests/e2e."""

from __future__ import annotations

import json
import math

import pytest

from modules.gate import Failure
from pipeline.metadata import Evaluation, NodeRun, Run, RunState, RunSummary
from pipeline.operations.summary import show

RUN_ID = "2026-01-01T00:00:00"


@pytest.fixture(autouse=True)
def wide(monkeypatch) -> None:
    """A terminal in which no line of a table breaks."""
    monkeypatch.setenv("COLUMNS", "400")


def shown(capsys, run: Run, **options) -> list[str]:
    """The printed lines, frames as single spaces."""
    show(run, [RunSummary(RUN_ID, "2026-01-01 00:00:00", 1.0, RunState.REJECTED)], 3, **options)
    lines = capsys.readouterr().out.splitlines()
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in lines]


def evaluated(metrics: dict, **fields) -> Run:
    given = {"blessed": True, "failures": [], **fields}
    return Run("mine", RUN_ID, [], Evaluation(metrics, **given), None)


def of_slice(value: float, queries: float = 10.0) -> dict[str, float]:
    return {"precision@1": value, "map@r": value / 2, "queries": queries}


def test_what_nodes_keep_on_their_artifacts_stands_beside_them(capsys) -> None:
    kept = {
        "uri": "/somewhere",
        "strategy": "hard",
        "triplets": 1234,
        "anchors_without_positive": 0,
        "train_class_sizes": '{"1": 2, "4-7": 3000}',
        "eval_class_sizes": '{"1": 2}',
    }
    node = NodeRun("TripletGen", "run", 1.25, None, {"triplets": kept})
    assert (
        "TripletGen run 1.2 strategy hard, triplets 1,234, train classes by size {1: 2, 4-7: 3,000}"
        in shown(capsys, Run("mine", RUN_ID, [node], None, None))
    )


def test_figures_of_mining_and_of_the_validation_part(capsys) -> None:
    kept = {
        "strategy": "hard",
        "sampled_by": "random",
        "bucketed_by": "class",
        "anchors": 900,
        "anchors_with_hard_negative": 300,
        "hard_negatives": 1234,
        "left_out_negatives": 5,
        "mean_d_ap": 0.25,
        "mean_d_an": 1.5,
        "validation_images": 1000,
        "validation_classes": 7,
        "validation_by": "label",
    }
    node = NodeRun("TripletGen", "cached", 0.0, None, {"triplets": kept})
    assert (
        "TripletGen cached 0.0 strategy hard, sampled by random, bucketed by class, anchors 900, "
        "anchors with hard negative 300, hard negatives 1,234, left out negatives 5, "
        "mean d_ap 0.2500, mean d_an 1.5000, validation images 1,000, validation classes 7, "
        "validation by label"
    ) in shown(capsys, Run("mine", RUN_ID, [node], None, None))


def test_what_the_index_is_and_what_changed_in_it(capsys) -> None:
    kept = {
        "images": 5000, "added": 4000, "kept": 1000, "removed": 0, "kind": "ivf",
        "storage": "int8", "recall": 0.97655, "recall_k": 10, "bytes": 1_500_000,
    }  # fmt: skip
    node = NodeRun("IndexGen", "run", 2.0, None, {"index": kept})
    assert (
        "IndexGen run 2.0 ivf index of int8, recall@10 0.9766, 1.5 MB, 4,000 added, 1,000 kept, "
        "0 removed, images 5,000"
    ) in shown(capsys, Run("mine", RUN_ID, [node], None, None))
    node = NodeRun("PreviousIndexResolver", "run", 0.0, None, {"previous_index": kept})
    assert "PreviousIndexResolver run 0.0" in shown(capsys, Run("mine", RUN_ID, [node], None, None))
    node = NodeRun("IndexGen", "run", 0.1, None, {"index": {"built": 0}})
    assert "IndexGen run 0.1" in shown(capsys, Run("mine", RUN_ID, [node], None, None))


def test_where_the_report_lies_and_why_there_is_none(capsys) -> None:
    node = NodeRun("ReportGen", "run", 3.0, None, {"report": {"fault": "OSError: full"}})
    run = Run("mine", RUN_ID, [node], None, None, report="/there/report.html")
    text = shown(capsys, run)
    assert "ReportGen run 3.0 fault OSError: full" in text
    assert "Report: /there/report.html" in text


def test_that_mining_found_nothing_hard_is_said(capsys) -> None:
    kept = {"strategy": "hard", "anchors_with_hard_negative": 0, "left_out_negatives": 0}
    node = NodeRun("TripletGen", "run", 1.0, None, {"triplets": kept})
    lines = shown(capsys, Run("mine", RUN_ID, [node], None, None))
    assert "TripletGen run 1.0 strategy hard, anchors with hard negative 0" in lines


@pytest.mark.parametrize(
    ("chosen", "channels", "by"),
    [
        ("height,width,channels", 3, "3 channels (chosen from the data)"),
        ("height,channels", 1, "1 channel (height and channels chosen from the data)"),
        ("", 3, "3 channels (as given)"),
    ],
)
def test_the_size_of_the_images_and_who_chose_it(capsys, chosen, channels, by) -> None:
    kept = {
        "image_height": 48, "image_width": 64, "image_channels": channels, "image_chosen": chosen
    }  # fmt: skip
    node = NodeRun("Transform", "run", 1.0, None, {"transform_graph": kept})
    lines = shown(capsys, Run("mine", RUN_ID, [node], None, None))
    assert f"Transform run 1.0 images 48 high, 64 wide, {by}" in lines
    kept["image_fit"] = "crop"
    assert f"Transform run 1.0 images 48 high, 64 wide, {by}, fit crop" in shown(
        capsys, Run("mine", RUN_ID, [node], None, None)
    )
    older = NodeRun("Transform", "run", 1.0, None, {"transform_graph": {"uri": "/somewhere"}})
    assert "Transform run 1.0" in shown(capsys, Run("mine", RUN_ID, [older], None, None))


def test_what_the_trainer_chose_and_advises(capsys) -> None:
    choices = {
        "steps": {"value": 1200, "why": "of 4,000 images"},
        "mining": {"value": "hard[0]", "why": "of [classes]"},
        "validate_every": {"value": None, "why": "later"},
    }
    run = Run(
        "mine", RUN_ID, [], None, None,
        choices=choices, advice=["More steps [see docs]."], resumed_at=[80],
    )  # fmt: skip
    lines = shown(capsys, run)
    at = lines.index("name value why")
    assert lines[at + 2 : at + 5] == [
        "steps 1,200 of 4,000 images",
        "mining hard[0] of [classes]",
        "validate_every - later",
    ]
    assert "Advice: More steps [see docs]." in lines
    assert "The training was killed, and went on from step 80." in lines
    printed = json.loads("\n".join(shown(capsys, run, as_json=True)))
    assert printed["choices"] == choices
    assert printed["advice"] == ["More steps [see docs]."]


def test_metrics_beside_those_of_the_last_blessed_model(capsys) -> None:
    overall = {"precision@1": 0.5, "queries": 1234.0, "non_finite_gallery": 2.0}
    before = {"precision@1": 0.25, "queries": 1234.0}
    change = {"precision@1": 0.25, "queries": 0.0}
    metrics = {"candidate": overall, "baseline": before, "change": change}
    lines = shown(capsys, evaluated({kind: {"overall": of} for kind, of in metrics.items()}))
    assert "metric candidate baseline change" in lines
    assert "precision@1 0.5000 0.2500 0.2500" in lines
    assert "queries 1,234 1,234 0" in lines
    assert "non_finite_gallery 2" in lines


def test_confidence_intervals_stand_behind_the_values(capsys) -> None:
    metrics = {
        "candidate": {"overall": {"precision@1": 0.979, "spread": 0.5, "queries": 10.0}},
        "baseline": {"overall": {"precision@1": 0.5, "spread": 0.5, "queries": 10.0}},
    }
    intervals = {"candidate": {"overall": {"precision@1": (0.9712, 0.98684), "queries": (9, 11)}}}
    lines = shown(capsys, evaluated(metrics, intervals=intervals))
    assert "precision@1 0.9790 [0.9712, 0.9868] 0.5000" in lines
    assert "spread 0.5000 0.5000" in lines
    assert "queries 10 10" in lines


def test_the_interval_of_a_change_and_what_it_could_not_tell(capsys) -> None:
    overall = {"map@r": 0.5, "queries": 10.0}
    metrics = {
        "candidate": {"overall": overall},
        "baseline": {"overall": overall},
        "change": {"overall": {"map@r": 0.0, "queries": 0.0, "interval level": 0.975}},
    }
    intervals = {"change": {"overall": {"map@r": (-0.01, 0.02)}}}
    run = evaluated(metrics, intervals=intervals)
    reason = "every threshold is met\npassed all the same: map@r [overall]: too few queries"
    summary = RunSummary(RUN_ID, "2026-01-01 00:00:00", 1.0, RunState.REJECTED, reason=reason)
    show(run, [summary], 3)
    printed = capsys.readouterr().out
    lines = [" ".join(line.replace("│", " ").split()) for line in printed.splitlines()]
    assert "change [97.5% interval]" in printed
    assert "map@r 0.5000 0.5000 0.0000 [-0.0100, 0.0200]" in lines
    assert "passed all the same: map@r [overall]: too few queries" in lines


def test_slices_come_worst_first_and_those_without_scores_last(capsys) -> None:
    slices = {
        "overall": of_slice(0.8, 100.0),
        "label=b": of_slice(0.75),
        "label=none": of_slice(math.nan, 1.0),
        "label=[c]": of_slice(0.5),
        "label=a": of_slice(1.0),
    }
    change = {"overall": of_slice(0.0, 0.0), "label=b": of_slice(-0.125, 0.0)}
    run = evaluated({"candidate": slices, "change": change})
    lines = shown(capsys, run)
    first = lines.index("slice queries precision@1 map@r change of map@r")
    assert lines[first + 2 : first + 6] == [
        "label=[c] 10 0.5000 0.2500",
        f"label=b 10 0.7500 0.3750 {-0.125 / 2:.4f}",
        "label=a 10 1.0000 0.5000",
        "label=none 1 nan nan",
    ]
    cut = shown(capsys, run, slices=1)
    assert "Slices, worst first, 3 more with --slices" in cut
    assert not any("label=b" in line for line in cut)


def test_the_reasons_of_a_rejection_are_listed(capsys) -> None:
    failures = [
        Failure("map@r", "label=[3]", 0.25, "0.2500 is below the threshold 0.5000 (by 0.2500)"),
        Failure("thresholds", "label=x", None, "no evaluated example is in such a slice"),
    ]
    run = evaluated({"candidate": {"overall": of_slice(0.5)}}, blessed=False, failures=failures)
    lines = shown(capsys, run)
    at = lines.index("NOT BLESSED")
    assert lines[at + 1 : at + 3] == [str(failure) for failure in failures]


def test_json_has_no_nan_and_has_the_intervals(capsys) -> None:
    metrics = {"candidate": {"overall": of_slice(0.5), "label=x": of_slice(math.nan)}}
    intervals = {"candidate": {"overall": {"map@r": (0.125, 0.375)}}}
    (text,) = ["\n".join(shown(capsys, evaluated(metrics, intervals=intervals), as_json=True))]
    evaluation = json.loads(text)["evaluation"]
    assert evaluation["metrics"]["candidate"]["label=x"]["map@r"] is None
    assert evaluation["intervals"] == {"candidate": {"overall": {"map@r": [0.125, 0.375]}}}


@pytest.mark.parametrize("message", ["[/data] has no images", "[bold]x", "shape [3, 28]"])
def test_a_message_with_brackets_is_shown_as_it_is(capsys, message: str) -> None:
    node = NodeRun("TripletGen", "failed", 1.0, message, {})
    run_id = "2026-01-01T00:00:00"
    summary = RunSummary(
        run_id, "2026-01-01 00:00:00", 1.0, RunState.FAILED, "TripletGen", reason=message
    )
    show(Run("mine", run_id, [node], None, None), [summary], 3)
    assert f"TripletGen failed: {message}" in capsys.readouterr().out
