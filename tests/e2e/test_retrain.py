"""The scheduled entry point through real runs: each exit code, and what the history says after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image

from modules.contract import make_example
from pipeline.config import load_config
from pipeline.config.paths import PROJECT
from pipeline.metadata import read_runs
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.lock import lock_path
from tests.forking import quick_python
from tests.real_data import digits

pytestmark = pytest.mark.slow


class Loop:
    """A pipeline on a few digits, driven by its commands only.

    Attributes:
        python: What runs them.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.python = root, sys.executable
        self.path = root / "loop.toml"
        (root / "data").mkdir()
        self.settings()
        self.data()

    def settings(
        self, *, steps: int = 20, weights: str = "none", lower: float = 0.4, hours: float = 1
    ) -> None:
        # A file of weights fits images of one size.
        image = "" if weights == "none" else "[image]\nheight = 28\nwidth = 28\nchannels = 1"
        self.path.write_text(f"""
[pipeline]
name = "loop"
directory = "{self.root}"
[data]
path = "{self.root}/data"
split = "hash"
{image}
[model]
weights = "{weights}"
[training]
steps = {steps}
batch_size = 96
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = {lower}
[retraining]
alert_after = 2
hours_per_run = {hours}
log_megabytes = 0.002
log_files = 3
""")

    def data(self, *, without_label: bool = False) -> None:
        with tf.io.TFRecordWriter(str(self.root / "data" / "all.tfrecord")) as writer:
            for row in digits(30):
                example = make_example(*row)
                if without_label:
                    del example.features.feature["label"]
                writer.write(example.SerializeToString())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "-m", "pipeline", *arguments, "--config", str(self.path)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *arguments: str, expected: ExitCode = ExitCode.OK) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == expected, output + self.log()
        return output

    def log(self) -> str:
        files = sorted((self.root / "loop" / "logs").glob("*"), key=os.path.getmtime)
        return "".join(file.read_text() for file in files)

    def served(self) -> set[str]:
        return {path.name for path in (self.root / "loop" / "serving").glob("[0-9]*")}


@pytest.fixture(scope="module")
def loop(tmp_path_factory) -> Loop:
    """The loop after its first run."""
    loop = Loop(tmp_path_factory.mktemp("loop"))
    output = loop.call("retrain")
    assert output.startswith("Pushed version ")
    loop.python = quick_python()  # the others do the same but for the start of an interpreter
    return loop


def test_each_exit_code_and_the_history(loop: Loop) -> None:
    (version,) = loop.served()
    assert "] Pusher done" in loop.log()

    output = loop.call("retrain")
    assert "no new data, every node was cached" in output
    assert f"is version {version}." in output

    loop.settings(lower=1.0)
    output = loop.call("retrain")  # once is no alarm
    assert "the model was rejected" in output
    assert "is below the threshold 1.0000" in output
    assert "rejected once since" in output

    loop.settings(lower=1.0, steps=21)
    output = loop.call("retrain", expected=ExitCode.REJECTED)
    assert "rejected 2 times in a row since" in output

    output = loop.call("retrain")  # nothing new: no further alarm, but not forgotten
    assert "no new data" in output
    assert "rejected 2 times in a row since" in output

    damaged = loop.root / "damaged.weights.h5"
    damaged.write_text("no weights")
    loop.settings(weights=str(damaged))
    output = loop.call("retrain", expected=ExitCode.FAILED)
    assert "Trainer failed" in output

    loop.settings()
    loop.data(without_label=True)
    output = loop.call("retrain", expected=ExitCode.DATA_REJECTED)
    assert "ExampleValidator rejected the data" in output
    assert "'label'" in output

    (loop.root / "data").rename(loop.root / "unmounted")
    (loop.root / "data").mkdir()
    output = loop.call("retrain", expected=ExitCode.NO_DATA)  # and no run
    assert "Mount its disk" in output

    (loop.root / "data" / "no records").write_bytes(b"nonsense")
    output = loop.call("retrain", expected=ExitCode.DATA_REJECTED)
    assert "ImportExampleGen rejected the data" in output

    assert loop.served() == {version}
    assert "rejected 2 times in a row since" in loop.call("summary")
    expected = [
        "pushed", "nothing new", "rejected", "rejected", "nothing new", "failed", "data rejected",
        "data rejected",
    ]  # fmt: skip
    page, picture = loop.root / "history.html", loop.root / "history.png"
    output = loop.call("history", "--json", "--html", str(page), "--png", str(picture))
    runs = json.loads(output)
    assert [run["state"] for run in runs] == expected
    assert [run["version"] for run in runs] == [version] + 7 * [None]
    first, _, rejected, *_ = runs
    assert first["metrics"]["candidate"].keys() == {"precision@1", "map@r", "queries"}
    # The same model and the same data, in another evaluation; there is no other blessed model.
    assert rejected["metrics"] == first["metrics"]
    assert (first["blessed"], rejected["blessed"]) == (True, False)
    assert first["triplets"] > 200
    with Image.open(picture) as image:
        assert image.format == "PNG"
    assert page.read_text().count("<tr>") == 1 + len(expected)
    assert not {"tensorflow", "tensorflow_model_analysis"} & modules_of_history(loop)

    # The settings of the log: 2,000 bytes a file, and three older ones.
    logs = {path.name: path.stat().st_size for path in (loop.root / "loop" / "logs").iterdir()}
    assert set(logs) == {
        "retrain.log",
        "retrain.log.1",
        "retrain.log.2",
        "retrain.log.3",
        "traceback.txt",
    }


def modules_of_history(loop: Loop) -> set[str]:
    """What the table of the history loads."""
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.__main__ import main\n"
        "done = CliRunner().invoke(main, sys.argv[1:], catch_exceptions=False)\n"
        "assert 'nothing new' in done.output, done.output\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "history", "--config", str(loop.path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_a_run_that_takes_too_long_is_ended_and_does_not_keep_the_lock(loop: Loop) -> None:
    loop.settings(hours=1 / 3600)
    output = loop.call("retrain", expected=ExitCode.FAILED)
    assert "SIGTERM" in output
    assert "it took more than" in loop.log()
    loop.settings()


def test_the_one_that_comes_second_is_refused_and_the_first_ends_its_run_when_it_is_asked_to(
    tmp_path,
) -> None:
    loop = Loop(tmp_path)
    first = loop.start("retrain")
    run = None
    try:
        # The folder appears when the node is in the metadata and before it does anything.
        output = loop.root / "loop" / "artifacts" / "ImportExampleGen" / "examples"
        deadline = time.monotonic() + 120
        while not output.exists() and time.monotonic() < deadline:
            assert first.poll() is None
            time.sleep(0.01)
        # It stays at this node, however long the others take to start.
        run = json.loads(lock_path(load_config(str(loop.path))).read_text())["pid"]
        assert run != first.pid
        os.kill(run, signal.SIGSTOP)
        for command in ("retrain", "run"):
            output = loop.call(command, expected=ExitCode.LOCKED)
            assert "'run' (pid" in output  # the process that does the work
        assert [r.state for r in read_runs(load_config(str(loop.path)))] == ["running"]
    finally:
        first.send_signal(signal.SIGTERM)
        if run:
            os.kill(run, signal.SIGCONT)
        first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM
    assert [r.state for r in read_runs(load_config(str(loop.path)))] == ["killed"]
    assert "the run was killed at ImportExampleGen" in loop.call("history")


def test_a_wrong_configuration_starts_nothing(tmp_path) -> None:
    loop = Loop(tmp_path)
    loop.path.write_text(loop.path.read_text().replace("alert_after", "alarm_after"))
    for command in ("retrain", "run", "history", "schedule"):
        output = loop.call(command, expected=ExitCode.USAGE)
        assert "retraining.alarm_after: unknown key" in output
    assert not (tmp_path / "loop").exists()
