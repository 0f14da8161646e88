"""What real trainings say of themselves, on the way and at the end."""

from __future__ import annotations

import json

from modules.batches.reading import LabelledImages, labelled_images
from tests.modules.training.training_runs import Run


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
        "served_spread", "served_agreement", "classes", "alone", "val_map@r", "best", "resumed_at",
    }  # fmt: skip
    assert result["served_agreement"] is None  # no batch normalisation
    assert result["resumed_at"] == []
    assert (result["steps"], result["stopped"], result["classes"]) == (36, "steps used up", 10)
    assert result["best"]["val_map@r"] >= result["val_map@r"]


def test_a_training_that_fits_hears_nothing(tmp_path, capsys) -> None:
    Run(tmp_path).fit()
    assert "Advice" not in capsys.readouterr().out
