"""What the Trainer wrote beside its curves: what it chose, and what it advises."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

from modules.storage import read_text

CHOICES_FILE, TRAINING_FILE = "choices.json", "training.json"


class TrainingFiles(NamedTuple):
    """`choices`: by name what the Trainer chose, `value` and `why`. `advice`: sentences.

    `resumed_at`: The steps from which the training went on after it was killed.
    """

    choices: dict[str, dict[str, Any]]
    advice: list[str]
    resumed_at: list[int]


class _Choice(BaseModel):
    """What the Trainer chose where the configuration leaves it open, and the reason."""

    value: int | float | str | None
    why: str


class _Training(BaseModel):
    """The part of `training.json` that the summary shows."""

    advice: list[str] = []
    resumed_at: list[int] = []


def read_training_files(folder: str) -> TrainingFiles:
    """Reads both files; what older runs did not write is empty.

    Args:
        folder: The artifact `model_run`, local or a URI.

    Raises:
        OSError: A file cannot be read.
        ValidationError: A file is not what it should be.
    """
    choices = TypeAdapter(dict[str, _Choice]).validate_json(_text(folder, CHOICES_FILE))
    training = _Training.model_validate_json(_text(folder, TRAINING_FILE))
    return TrainingFiles(
        {name: choice.model_dump() for name, choice in choices.items()},
        training.advice, training.resumed_at,
    )  # fmt: skip


def _text(folder: str, name: str) -> str:
    try:
        return read_text(os.path.join(folder, name))  # noqa: PTH118 — may be a URI
    except FileNotFoundError:
        return "{}"
