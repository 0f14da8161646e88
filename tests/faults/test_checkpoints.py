"""Checkpoints that the disk has damaged: set aside, never fatal, never silently wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from modules.training.checkpoints import Checkpoints
from tests.modules.training.training_runs import Run


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGES = {
    "cut": lambda folder: cut(next(folder.glob("*.data-*"))),
    "changed": lambda folder: spoil(next(folder.glob("*.data-*"))),
    "no index": lambda folder: next(folder.glob("*.index")).unlink(),
    "no data": lambda folder: next(folder.glob("*.data-*")).unlink(),
    "empty index": lambda folder: next(folder.glob("*.index")).write_bytes(b""),
    "no list": lambda folder: (folder / "checkpoint").write_text("nonsense {"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """What a training of 6 steps has left."""
    folder = tmp_path_factory.mktemp("trained")
    Run(folder, steps=6).fit()
    assert list((folder / "checkpoints").glob("*.index"))
    return folder


def test_an_unreadable_checkpoint_is_set_aside_and_the_training_begins_anew(
    trained, tmp_path, caplog
) -> None:
    """Each damage in turn, on the state of one training; the last one trains again."""
    logging.get_absl_logger().propagate = True
    run = Run(tmp_path, steps=6)
    trainer = run.trainer()
    initial = [np.array(variable) for variable in trainer.state_variables]
    folder = tmp_path / "checkpoints"
    for name, damage in DAMAGES.items():
        caplog.clear()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(trained / "checkpoints", folder)
        damage(folder)
        assert not Checkpoints(str(folder), trainer, {}).restore(), name
        # Nothing of the damaged state was taken over.
        for before, now in zip(initial, trainer.state_variables, strict=True):
            np.testing.assert_array_equal(before, np.array(now), name)
        if name != "no list":  # TensorFlow says that one itself, and knows of no checkpoint
            assert "the training begins anew" in caplog.text, name
            assert (tmp_path / "checkpoints.unreadable").is_dir(), name
            assert not folder.exists() or not list(folder.glob("*.index"))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trained / "checkpoints", folder)
    DAMAGES["cut"](folder)
    trainer, _ = run.fit()
    assert int(trainer.steps_done.numpy()) == 6
    assert list(folder.glob("*.index"))  # of this training
