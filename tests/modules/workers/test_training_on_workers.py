"""Two processes train as one with the same batch; one of them is killed, and a new try goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modules import trainer
from modules.workers import WorkerLostError
from tests.modules.test_trainer import ROWS, arguments, prepared  # noqa: F401
from tests.modules.training.training_runs import PLAIN

# Random changes of images are drawn on each replica by itself, so there are none.
TRAINING = {"steps": 12, "validate_every": 4, "patience": 9, "ema": 0.9, **PLAIN}
TWO = {"distribution": "multi_worker", "workers": 2}


def workers_of(folder: Path) -> dict[int, int]:
    """Processes of the workers that meet below a folder: process ids by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has ended
            continue
        if "modules.trainer" in words and any(word.startswith(f"{folder}/") for word in words):
            found[int(words[words.index("--number") + 1])] = int(process.name)
    return found


class Killer(threading.Thread):
    """Kills worker 1 at the first checkpoint."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.at = 0.0

    def run(self) -> None:
        while not [*self.run_folder.rglob("checkpoints/*/checkpoint")]:
            time.sleep(0.05)
        os.kill(workers_of(self.run_folder)[1], signal.SIGKILL)
        self.at = time.monotonic()


def embed(model: str) -> np.ndarray:
    images = tf.constant([image for image, _, _ in ROWS["eval"]])
    return tf.saved_model.load(model).signatures["images"](images=images)["embedding"].numpy()


@pytest.mark.slow
def test_two_workers_train_as_one_and_go_on_after_one_is_killed(
    prepared: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    killed, retry = (arguments(prepared, tmp_path, TRAINING | TWO, attempt=n) for n in (1, 2))
    alone = arguments(prepared, tmp_path / "alone", TRAINING)
    killer = Killer(tmp_path / "run")
    killer.start()
    with pytest.raises(WorkerLostError, match=r"^Worker 1 was killed \(SIGKILL\)[^$]*goes on at"):
        trainer.run_fn(killed)
    # It waits 10 seconds for the chief to end, which TensorFlow tells of the broken connection.
    assert time.monotonic() - killer.at < 60
    assert not workers_of(tmp_path)
    assert not Path(killed.serving_model_dir).exists()
    assert not [*Path(killed.model_run_dir).glob("workers*")]
    capfd.readouterr()

    trainer.run_fn(retry)
    said = capfd.readouterr().out
    done = int(re.search(r"Goes on at step (\d+) of an earlier attempt", said)[1])
    assert done in (4, 8)
    assert "Worker 0: 12 steps, weights " in said
    assert not workers_of(tmp_path)
    assert not [*tmp_path.rglob("workers*")]

    trainer.run_fn(alone)
    # The gradient is a sum over 96 rows in float32, here of two sums over 48: it differs by some
    # roundings of 2⁻²⁴ ≈ 6e-8, and 12 steps of AdamW add up to 2e-6 in unit vectors.
    np.testing.assert_allclose(
        embed(retry.serving_model_dir), embed(alone.serving_model_dir), atol=1e-4
    )
    reports = [
        json.loads(Path(one.model_run_dir, "training.json").read_text()) for one in (retry, alone)
    ]
    for name in ("loss", "d_ap", "d_an", "val_map@r"):  # of the last four steps
        assert reports[0][name] == pytest.approx(reports[1][name], rel=1e-3)
    assert reports[0]["best"] == pytest.approx(reports[1]["best"])
