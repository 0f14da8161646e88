"""A year of scheduled retraining on real digits: what is trained, rejected, pushed and kept.

A span a month. The scheduled entry point is all that runs; between the runs only data arrives,
and in the fourth and seventh month none does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import load_config
from pipeline.config.paths import PROJECT
from pipeline.metadata import RunSummary, read_runs
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.lock import lock_path
from tests.faults.processes import is_gone, wait_for
from tests.forking import quick_python
from tests.real_data import digits

pytestmark = pytest.mark.slow

OLD_CLASSES, ALL_CLASSES = range(8), range(10)


class Year:
    """A pipeline of its own, and the folder where its data arrives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "year.toml"
        self.path.write_text(f"""
[pipeline]
name = "year"
directory = "{root}"
warm_start = true
keep_versions = 2
[data]
path = "{root}/photos"
format = "images"
split = "hash"
pattern = "month-{{SPAN}}/*/*"
window = 2
evaluation_span = 1
[image]
height = 28
width = 28
channels = 1
[audit]
enabled = false
[index]
enabled = false
[training]
steps = 60
batch_size = 48
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.5
max_drop = 0.1
[evaluation.thresholds."map@r"]
max_drop = 0.05
[retraining]
alert_after = 2
""")
        self.config = load_config(str(self.path))
        self._used = dict.fromkeys(ALL_CLASSES, 0)

    def arrives(self, month: int, per_class: int, classes: Iterable[int] = OLD_CLASSES) -> Path:
        """Digits that were in no month before."""
        folder = self.root / "photos" / f"month-{month}"
        for digit in classes:
            rows = digits(per_class, start=self._used[digit], classes=[digit])
            self._used[digit] += per_class
            for image, label, name in rows:
                path = folder / label.decode() / f"{name.decode()[-4:]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image)
        return folder

    def command(self, python: str, *arguments: str) -> list[str]:
        return [python, "-m", "pipeline", *arguments, "--config", str(self.path)]

    def pipeline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(quick_python(), *arguments)
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    def retrain(self, expected: ExitCode = ExitCode.OK) -> RunSummary:
        done = self.pipeline("retrain")
        assert done.returncode == expected, done.stdout + done.stderr + self.log()[-4000:]
        return self.summaries()[-1]

    def summaries(self) -> list[RunSummary]:
        return read_runs(self.config)

    def log(self) -> str:
        return (self.root / "year" / "logs" / "retrain.log").read_text()

    def served(self) -> list[str]:
        return sorted(path.name for path in (self.root / "year" / "serving").glob("[0-9]*"))

    def killed_while_training(self) -> None:
        """Starts a run and kills it, and all it started, when the Trainer is at work."""
        process = subprocess.Popen(
            self.command(sys.executable, "retrain"),
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # A new folder there: the node is in the metadata, and nothing is trained yet.
        models = self.root / "year" / "artifacts" / "Trainer" / "model"
        before = set(models.iterdir())
        deadline = time.monotonic() + 300
        while set(models.iterdir()) == before and time.monotonic() < deadline:
            assert process.poll() is None, self.log()[-4000:]
            time.sleep(0.1)
        # The run has a group of its own, and ends a moment after the one that started it.
        worker = json.loads(lock_path(self.config).read_text())["pid"]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: is_gone(worker))


def rewrite(folder: Path, change) -> None:
    """Changes the pixels of every image in a folder."""
    for path in folder.rglob("*.png"):
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def mix_labels(folder: Path) -> None:
    """Gives the classes to the images anew, at random: labels that say nothing."""
    paths = sorted(folder.rglob("*.png"))
    classes = [path.parent for path in paths]
    random.Random(0).shuffle(classes)
    for number, (path, mixed) in enumerate(zip(paths, classes, strict=True)):
        path.rename(mixed / f"mixed-{number:04d}.png")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_twelve_months(tmp_path) -> None:
    year = Year(tmp_path)

    year.arrives(1, 40)
    run = year.retrain()
    assert (run.state, run.span, run.window) == ("pushed", 1, (1,))
    assert year.served() == [run.version]
    queries = run.metrics["candidate"]["queries"]

    year.arrives(2, 20)
    run = year.retrain()
    assert (run.state, run.span, run.window) == ("pushed", 2, (1, 2))  # growth
    assert set(run.metrics) == {"candidate", "baseline"}
    assert run.metrics["candidate"]["queries"] == queries
    good = run.version

    (tmp_path / "photos" / "month-3" / "0").mkdir(parents=True)  # an empty month
    run = year.retrain()
    assert (run.state, run.span, run.trained, run.version) == ("nothing new", 2, False, None)
    assert "no new data" in year.log()
    assert year.served()[-1] == good

    corrupt = year.arrives(5, 20)
    for number, path in enumerate(sorted(corrupt.rglob("*.png"))):
        if number % 3 == 0:
            path.write_bytes(path.read_bytes()[:100])
    run = year.retrain(ExitCode.DATA_REJECTED)
    assert (run.state, run.node, run.span) == ("data rejected", "ImageExampleGen", 5)
    assert "cannot be decoded" in run.reason
    before = year.served()

    inverted = year.arrives(6, 20)
    rewrite(inverted, lambda pixels: 255 - pixels)
    run = year.retrain(ExitCode.DATA_REJECTED)
    assert (run.state, run.node, run.span) == ("data rejected", "ExampleValidator", 6)
    assert "brightness" in run.reason
    assert not run.trained
    assert year.served() == before

    year.arrives(8, 20, ALL_CLASSES)  # new classes are welcome
    run = year.retrain()
    assert (run.state, run.span, run.window) == ("pushed", 8, (2, 8))  # 5 and 6 were rejected
    # Month 1 is no longer trained on, and still what every model is judged by.
    assert run.metrics["candidate"]["queries"] == queries
    assert len(year.served()) == 2  # keep_versions
    before = year.served()

    mix_labels(year.arrives(9, 40, ALL_CLASSES))
    run = year.retrain()  # one rejection is no alarm
    assert (run.state, run.span, run.trained) == ("rejected", 9, True)
    assert "below the last blessed model" in run.reason
    mix_labels(year.arrives(10, 40, ALL_CLASSES))
    run = year.retrain(ExitCode.REJECTED)
    assert (run.state, run.span, run.window) == ("rejected", 10, (9, 10))
    assert "rejected 2 times in a row" in year.log()
    assert year.served() == before

    # Two months at once, and the machine fails during the first.
    year.arrives(11, 150, ALL_CLASSES)
    year.killed_while_training()
    run = year.summaries()[-1]
    assert (run.state, run.node, run.span) == ("killed", "Trainer", 11)
    year.arrives(12, 60, ALL_CLASSES)
    run = year.retrain()
    assert (run.state, run.span, run.window) == ("pushed", 12, (11, 12))
    last = run.version
    assert year.served()[-1] == last

    # The new model misbehaves: back to the one before, and it stays that way.
    done = year.pipeline("rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    again = year.served()[-1]
    assert int(again) > int(last)
    assert year.retrain().state == "nothing new"
    assert year.served()[-1] == again

    # What nobody needs any more goes, and the cache is still complete.
    artifacts = tmp_path / "year" / "artifacts"
    full = size(artifacts)
    assert year.pipeline("gc", "--keep", "2").returncode == 0
    assert size(artifacts) == full
    done = year.pipeline("gc", "--keep", "2", "--delete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert size(artifacts) < full
    run = year.retrain()
    assert (run.state, run.trained) == ("nothing new", False)

    done = year.pipeline("history")
    assert done.returncode == 0, done.stderr
    states = [run.state for run in year.summaries()]
    assert states == [
        "pushed", "pushed", "nothing new", "data rejected", "data rejected", "pushed", "rejected",
        "rejected", "killed", "pushed", "nothing new", "nothing new",
    ]  # fmt: skip
    assert all(state in done.stdout for state in set(states))
