"""Which spans wait, in real folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.config import Config, parse_config
from pipeline.metadata import RunState, RunSummary
from pipeline.operations.waiting_spans import tried_spans, waiting_spans


def configured(root: Path, **data: str) -> Config:
    return parse_config(
        {
            "pipeline": {"name": "mine", "directory": str(root)},
            "data": {"path": str(root / "data"), **data},
        },
        "test",
    )


def run(span: int | None, state: str = "pushed", node: str | None = None) -> RunSummary:
    return RunSummary("id", "2026-01-01", 1.0, RunState(state), node, span=span)


@pytest.mark.parametrize(
    ("runs", "waiting"),
    [
        ([], [0, 2, 3, 11]),
        ([run(0)], [2, 3, 11]),
        ([run(0), run(3)], [11]),  # one that came too late is not read any more
        ([run(2), run(11), run(11, "nothing new")], []),
        ([run(2), run(3, "data rejected", "ExampleValidator")], [11]),
        ([run(2), run(3, "data rejected", "ImageExampleGen")], [11]),
        ([run(2), run(3, "killed", "ImageExampleGen")], [3, 11]),  # it was not read to its end
        ([run(2), run(3, "killed", "Trainer")], [11]),
        ([run(2), run(3, "running", "ImageExampleGen")], [3, 11]),
        ([run(2), run(None, "failed")], [3, 11]),
    ],
)
def test_those_after_the_last_that_was_tried(tmp_path, runs, waiting) -> None:
    for folder in ("span-2", "span-11", "span-0", "span-3", "span-x", "other-9"):
        (tmp_path / "data" / folder / "seven").mkdir(parents=True)
    config = configured(tmp_path, format="images", split="hash", pattern="span-{SPAN}/*/*")
    assert waiting_spans(config, runs) == waiting


def test_days_are_spans(tmp_path) -> None:
    (tmp_path / "data" / "1970-01-03").mkdir(parents=True)
    (tmp_path / "data" / "1970-02-30").mkdir()
    config = configured(tmp_path, split="hash", pattern="{YYYY}-{MM}-{DD}/*")
    assert waiting_spans(config, []) == [2]


def test_splits_of_their_own(tmp_path) -> None:
    for name in ("train/span-1/a", "eval/span-1/a", "train/span-2/a"):
        (tmp_path / "data" / name).mkdir(parents=True)
    config = configured(tmp_path, train="train/span-{SPAN}/*", eval="eval/span-{SPAN}/*")
    assert waiting_spans(config, [run(1)]) == [2]


def test_without_spans_nothing_waits(tmp_path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    assert waiting_spans(configured(tmp_path), []) == []
    assert tried_spans([run(None)]) == []


def test_late_spans_wait_if_they_are_to_be_read(tmp_path) -> None:
    for folder in ("span-1/v1", "span-1/v2", "span-2/v1", "span-4/v1"):
        (tmp_path / "data" / folder / "seven").mkdir(parents=True)
    data = {"format": "images", "split": "hash", "pattern": "span-{SPAN}/v{VERSION}/*/*"}
    first, third = run(1), run(3)
    first = dataclasses.replace(first, span_version=1)
    assert waiting_spans(configured(tmp_path, **data), [first, third]) == [4]
    reads = configured(tmp_path, **data, late_spans="read")
    assert waiting_spans(reads, [first, third]) == [1, 2, 4]
    read = dataclasses.replace(first, span_version=2)
    assert waiting_spans(reads, [first, third, read]) == [2, 4]
