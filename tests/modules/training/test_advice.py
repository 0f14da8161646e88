"""Advice: on constructed trainings, and on real ones."""

from __future__ import annotations

import dataclasses
import json

import pytest

from modules.batches.reading import LabelledImages, labelled_images
from modules.settings import TrainingSettings
from modules.training.advice import Progress, advise
from tests.modules.training.training_runs import Run

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
    plain = advise(overfits, TrainingSettings())["overfits"]
    assert "max_shift" in plain
    assert "fewer training.steps" in plain
    assert "max_shift" not in advise(overfits, TrainingSettings(max_shift=0.1))["overfits"]
    best = dataclasses.replace(overfits, best=0.5)
    assert "fewer" not in advise(best, TrainingSettings())["overfits"]
    easy = dataclasses.replace(overfits, step=60)
    of_triplets = advise(easy, TrainingSettings(mining="none"))["too_easy"]
    assert "triplets.strategy = 'semi_hard'" in of_triplets
    assert "margin" in of_triplets
    soft = advise(easy, TrainingSettings(mining="all", loss="soft_margin"))["too_easy"]
    assert "margin" not in soft


def shuffled(data: LabelledImages) -> LabelledImages:
    """Labels that have nothing to do with the images: nothing to be found."""
    return data._replace(
        labels=data.labels[[(7 * i) % len(data.labels) for i in range(len(data.labels))]]
    )


def test_a_real_training_that_learns_its_images_by_heart_hears_of_it_once(
    tmp_path, capsys, monkeypatch
) -> None:
    run = Run(tmp_path, steps=36)
    monkeypatch.setattr(
        "tests.modules.training.training_runs.labelled_images",
        lambda files, limit: shuffled(labelled_images(files, limit)),
    )
    run.fit()
    printed = capsys.readouterr().out
    assert printed.count("The training images are learnt by heart") == 2  # noticed, and at the end
    result = json.loads((tmp_path / "run/training.json").read_text())
    [advice] = result.pop("advice")
    assert f"Advice: {advice}" in printed
    assert "max_shift" in advice
    assert result.keys() == {
        "steps", "total_steps", "stopped", "seconds", "loss", "active", "d_ap", "d_an", "spread",
        "classes", "alone", "val_map@r", "best",
    }  # fmt: skip
    assert (result["steps"], result["stopped"], result["classes"]) == (36, "steps used up", 10)
    assert result["best"]["val_map@r"] >= result["val_map@r"]


def test_a_training_that_fits_hears_nothing(tmp_path, capsys) -> None:
    Run(tmp_path).fit()
    assert "Advice" not in capsys.readouterr().out
