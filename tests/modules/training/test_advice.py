"""Advice on constructed trainings; `test_report.py` has real ones."""

from __future__ import annotations

import dataclasses

import pytest

from modules.settings import TrainingSettings
from modules.training.advice import Progress, advise
from tests.modules.training.training_runs import PLAIN

GOOD = Progress(
    active=0.3, classes=96, alone=0.0, map_at_r=0.9, best=0.9, step=600, steps=600, ended=True
)


def names(settings: dict | None = None, **changes) -> set[str]:
    return set(advise(dataclasses.replace(GOOD, **changes), TrainingSettings(**settings or {})))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"active": 0.0}, set()),  # all is learnt, and validation is good
        ({"active": 0.01, "map_at_r": 0.5, "best": 0.5}, {"overfits"}),
        ({"active": 0.01, "map_at_r": 0.84}, {"overfits"}),  # it was better before
        ({"active": 0.01, "map_at_r": 0.88}, set()),  # noise
        ({"classes": 3, "map_at_r": 0.5, "best": 0.5}, {"few_classes", "too_short"}),
        ({"classes": 3}, set()),
        ({"alone": 0.7}, {"alone"}),
        ({"map_at_r": 0.5, "best": 0.5}, {"too_short"}),
        ({"map_at_r": 0.5, "best": 0.6}, set()),
        ({"map_at_r": 0.5, "best": 0.5, "ended": False}, set()),
        # The steps are not known yet.
        ({"active": 0.01, "map_at_r": 0.5, "best": 0.5, "steps": 0}, {"overfits"}),
    ],
)
def test_what_is_wrong(changes: dict, expected: set[str]) -> None:
    assert names(**changes) == expected


def test_easy_triplets_early_are_another_fault_than_overfitting() -> None:
    idle = {"active": 0.01, "map_at_r": 0.5, "best": 0.5, "ended": False}
    assert names({"mining": "all"}, step=60, **idle) == {"too_easy"}
    assert names({"mining": "all"}, step=400, **idle) == {"overfits"}
    assert names({"mining": "semi_hard"}, step=60, **idle) == {"overfits"}


def test_only_what_is_not_done_yet_is_advised() -> None:
    overfits = dataclasses.replace(GOOD, active=0.01, map_at_r=0.5)
    plain = advise(overfits, TrainingSettings(**PLAIN))["overfits"]
    assert "max_shift" in plain
    assert "fewer training.steps" in plain
    assert "max_shift" not in advise(overfits, TrainingSettings())["overfits"]
    best = dataclasses.replace(overfits, best=0.5)
    assert "fewer" not in advise(best, TrainingSettings())["overfits"]
    easy = dataclasses.replace(overfits, step=60)
    of_triplets = advise(easy, TrainingSettings(mining="none"))["too_easy"]
    assert "triplets.strategy = 'semi_hard'" in of_triplets
    assert "margin" in of_triplets
    soft = advise(easy, TrainingSettings(mining="all", loss="soft_margin"))["too_easy"]
    assert "margin" not in soft
