"""A training that is stopped in the middle goes on as if it had not been."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from modules.settings import ModelSettings
from modules.training.callbacks import RetrievalValidation
from modules.training.checkpoints import checkpoint_folder, read_code_fingerprint
from tests.modules.training.training_runs import Run

EVERYTHING_RANDOM = {"max_shift": 0.1, "max_rotation": 0.05, "horizontal_flip": True}


class KilledError(Exception):
    """The end of a process."""


def killed() -> None:
    raise KilledError


def happens_in_third_stretch(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object] = killed
) -> None:
    """After step 15 of 18; the last validation was after step 12."""
    original = keras.callbacks.TensorBoard.on_train_batch_end
    steps = []

    def on_train_batch_end(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        steps.append(1)
        if len(steps) == 15:
            happens()

    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_train_batch_end", on_train_batch_end)


OF_TRIPLETS = {
    "batches": "triplets", "classes_per_batch": 96, "images_per_class": 4, "batch_size": 120
}  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"mining": "distance_weighted", "ema": 0.8, **EVERYTHING_RANDOM},
        {"mining": "none", **OF_TRIPLETS},
        {"mining": "semi_hard", **OF_TRIPLETS},
        {"loss": "multi_similarity", "memory": 100, "memory_from_step": 4},
        {"loss": "proxy_anchor", "ema": 0.8},
    ],
)
def test_a_stopped_training_ends_like_one_that_was_not(
    tmp_path, monkeypatch, capsys, settings
) -> None:
    """From the files that it would have left, had it been killed."""
    model = ModelSettings(embedding_size=16, dropout=0.2)
    stopped = Run(tmp_path / "stopped", model, **settings)
    with monkeypatch.context() as patch:
        left = tmp_path / "whole" / "checkpoints", tmp_path / "stopped" / "checkpoints"
        happens_in_third_stretch(patch, lambda: shutil.copytree(*left))
        whole, best = Run(tmp_path / "whole", model, **settings).fit()
    trainer = stopped.trainer()
    trainer, best_of_stopped = stopped.fit(trainer)
    assert int(trainer.steps_done.numpy()) == 18
    assert "Goes on at step 12 of an earlier attempt" in capsys.readouterr().out
    pairs = [
        (whole.embedder.get_weights(), trainer.embedder.get_weights()),
        (best.state().values(), best_of_stopped.state().values()),
        (whole.state_variables, trainer.state_variables),
    ]
    for expected, found in pairs:
        for a, b in zip(expected, found, strict=True):
            # Sums over threads are rounded in any order, as between two whole trainings.
            np.testing.assert_allclose(np.array(a), np.array(b), rtol=2e-3, atol=2e-4)


def test_only_the_rest_is_trained_and_a_finished_training_is_not_repeated(
    tmp_path, monkeypatch, capsys
) -> None:
    run = Run(tmp_path)
    with monkeypatch.context() as patch:
        happens_in_third_stretch(patch)
        with pytest.raises(KilledError):
            run.fit()
    capsys.readouterr()
    run.fit()
    printed = capsys.readouterr().out
    assert "Goes on at step 12 of an earlier attempt" in printed
    assert "step    18/18" in printed
    assert "step    12/18" not in printed
    trainer, best = run.fit()
    assert "step    18/18" not in capsys.readouterr().out
    best.give_to(trainer.embedder)
    assert len(list((tmp_path / "checkpoints").glob("*.index"))) == 1


def test_patience_outlives_the_process(tmp_path, monkeypatch) -> None:
    """Nothing improves: after the first validation, the second one ends the training."""
    scores = {"val_map@r": 0.5, "val_precision@1": 0.5, "val_d_ap": 0.5, "val_d_an": 1.0}
    monkeypatch.setattr(
        RetrievalValidation,
        "on_epoch_end",
        lambda self, epoch, logs: logs.update(scores | {"val_spread": 0.5}),
    )
    run = Run(tmp_path, patience=1)
    trainer, best = run.fit()
    assert int(trainer.steps_done.numpy()) == 12
    trainer, best = run.fit()
    assert best.finished
    assert int(trainer.steps_done.numpy()) == 12
    # A tie: the later weights, but no improvement.
    assert best.scores["step"] == 12
    result = json.loads((tmp_path / "run/training.json").read_text())
    assert (result["stopped"], result["steps"]) == ("no improvement", 12)


def test_without_resume_nothing_is_written(tmp_path) -> None:
    Run(tmp_path, resume=False, steps=6).fit()
    assert not (tmp_path / "checkpoints").exists()


def test_the_folder_is_beside_the_runs_and_differs_for_what_determines_a_training(
    tmp_path, monkeypatch
) -> None:
    first = checkpoint_folder(f"{tmp_path}/model_run/7", "code", {"seed": 0}, ["files"])
    assert first == checkpoint_folder(f"{tmp_path}/model_run/8/", "code", {"seed": 0}, ["files"])
    assert Path(first).parent == tmp_path / "model_run" / "checkpoints"
    assert first != checkpoint_folder(f"{tmp_path}/model_run/7", "code", {"seed": 1}, ["files"])
    monkeypatch.setenv("TRIPLET_RUN_ID", "one")  # runs that may go on at once
    of_run = checkpoint_folder(f"{tmp_path}/model_run/7", "code", {"seed": 0}, ["files"])
    assert of_run == checkpoint_folder(f"{tmp_path}/model_run/9", "code", {"seed": 0}, ["files"])
    monkeypatch.setenv("TRIPLET_RUN_ID", "two")
    assert (
        len(
            {
                first,
                of_run,
                checkpoint_folder(f"{tmp_path}/model_run/7", "code", {"seed": 0}, ["files"]),
            }
        )
        == 3
    )
    monkeypatch.delenv("TRIPLET_RUN_ID")
    changed = checkpoint_folder(f"{tmp_path}/model_run/7", "changed", {"seed": 0}, ["files"])
    assert first != changed


@pytest.mark.parametrize("custom_config", [None, {}, {"code_fingerprint": ""}])
def test_a_training_must_be_told_its_code(custom_config) -> None:
    with pytest.raises(ValueError, match="custom_config has no 'code_fingerprint'"):
        read_code_fingerprint(custom_config)
    assert read_code_fingerprint({"code_fingerprint": "a1"}) == "a1"
