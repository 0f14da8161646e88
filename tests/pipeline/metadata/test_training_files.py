"""The files of the Trainer that the summary shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.metadata.training_files import read_training_files


def test_older_runs_wrote_none(tmp_path: Path) -> None:
    assert read_training_files(str(tmp_path)) == ({}, [], [])
    assert read_training_files(str(tmp_path / "gone")) == ({}, [], [])


def test_choices_are_read_whole_and_of_the_rest_the_advice(tmp_path: Path) -> None:
    choices = {
        "steps": {"value": 1200, "why": "of 4,000 images"},
        "validate_every": {"value": None, "why": "later"},
    }
    (tmp_path / "choices.json").write_text(json.dumps(choices))
    assert read_training_files(str(tmp_path)) == (choices, [], [])
    training = {"advice": ["More steps would help.", "—"], "steps": 7, "resumed_at": [3]}
    (tmp_path / "training.json").write_text(json.dumps(training))
    assert read_training_files(f"file://{tmp_path}") == (choices, training["advice"], [3])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("choices.json", "{"),
        ("choices.json", "[]"),
        ("training.json", '{"advice": 3}'),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValidationError):
        read_training_files(str(tmp_path))
