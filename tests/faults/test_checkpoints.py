"""Checkpoints that the disk has damaged: set aside, never fatal, never silently wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from modules.training.checkpoints import Checkpoints, files_state
from pipeline.config import PROJECT, load_config
from pipeline.metadata import read_latest
from tests.faults.processes import wait_for
from tests.modules.training.training_runs import Run
from tests.real_data import digits


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


def test_a_file_that_was_written_anew_is_another_file(tmp_path) -> None:
    """Artifacts get the same names again when the metadata database was removed."""
    path = tmp_path / "triplets"
    path.write_bytes(b"a")
    before = files_state([f"{tmp_path}/*"])
    assert files_state([f"{tmp_path}/*"]) == before
    path.write_bytes(b"b")
    os.utime(path, (time.time() + 5,) * 2)
    assert files_state([f"{tmp_path}/*"]) != before


# A run up to the Trainer; what comes after it has nothing to do with checkpoints.
UP_TO_TRAINER = """
import sys
from pipeline.local_runner import LocalRunner, create_pipeline, hold_lock, load_config, settle_local
from tfx.orchestration.pipeline import RunOptions
config = load_config(sys.argv[1])
with hold_lock(config, "run"):
    settle_local(config)
    LocalRunner(config).run(create_pipeline(config), run_options=RunOptions(to_nodes=["Trainer"]))
"""
KILLED = """
[pipeline]
name = "killed"
directory = "{root}"
[data]
path = "{root}/images"
format = "images"
split = "hash"
[image]
height = 28
width = 28
channels = 1
[audit]
enabled = false
[training]
steps = 24
validate_every = 4
projector = false
[export]
tflite = false
"""


def train(root: Path) -> subprocess.Popen[str]:
    path = root / "killed.toml"
    path.write_text(KILLED.format(root=root))
    return subprocess.Popen(
        [sys.executable, "-c", UP_TO_TRAINER, str(path)],
        cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip


@pytest.mark.slow
def test_the_run_after_a_kill_goes_on_with_the_training(tmp_path) -> None:
    for image, label, name in digits(8):
        path = tmp_path / "images" / label.decode() / f"{Path(name.decode()).name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    checkpoints = tmp_path / "killed/artifacts/Trainer/model_run/checkpoints"
    killed = train(tmp_path)
    wait_for(lambda: list(checkpoints.glob("*/checkpoint")), killed)
    killed.kill()
    killed.communicate()
    assert len(list(checkpoints.iterdir())) == 1
    config = load_config(str(tmp_path / "killed.toml"))
    assert read_latest(config)[0].nodes[-1].state == "killed"
    again = train(tmp_path)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    found = re.search(r"Goes on at step (\d+) of an earlier attempt", said)
    assert found, said
    run = read_latest(config)[0]
    assert run.resumed_at == [int(found[1])]
    assert list(checkpoints.iterdir()) == []
