"""Runs of a copy of this project whose code is edited in between: what is cached, what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from modules.contract import make_example
from pipeline.config import CONFIG_VARIABLE, PROJECT, load_config
from pipeline.fingerprint import PACKAGES
from pipeline.metadata import latest_run
from tests.real_data import digits

pytestmark = pytest.mark.slow

RESOLVERS = {
    "AuditModelResolver",
    "BaselineResolver",
    "PreviousIndexResolver",
}  # TFX never caches them


# Loads the libraries once. Each line of the input runs a new child, which loads the project anew.
_RUNS = """
import os, runpy, sys
import tensorflow, apache_beam, tensorflow_transform, tensorflow_model_analysis, tfx.components
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        try:
            runpy.run_path("pipeline/local_runner.py", run_name="__main__")
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Copy:
    """A copy of the project, and a small pipeline that runs in it."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        for package in PACKAGES:
            shutil.copytree(PROJECT / package, self.project / package)
        (root / "data").mkdir()
        with tf.io.TFRecordWriter(str(root / "data" / "all.tfrecord")) as writer:
            for row in digits(20):
                writer.write(make_example(*row).SerializeToString())
        self.config = root / "config.toml"
        self.config.write_text(f"""
[pipeline]
name = "copy"
directory = "{root}"
[data]
path = "{root}/data"
split = "hash"
[training]
steps = 4
batch_size = 40
validate_every = 4
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.1
""")

        self._runs = subprocess.Popen(
            [sys.executable, "-c", _RUNS],
            cwd=self.project,
            env=os.environ | {CONFIG_VARIABLE: str(self.config), "PYTHONPATH": str(self.project)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        with self._runs:
            self._runs.stdin.close()

    def run(self) -> set[str]:
        """Runs the pipeline as it is now; the nodes that were not cached."""
        self._runs.stdin.write("\n")
        self._runs.stdin.flush()
        lines = iter(self._runs.stdout.readline, "")
        ended = next(line for line in lines if line.startswith("ended"))
        assert ended == "ended 0\n"
        run = latest_run(load_config(str(self.config)))
        return {node.node for node in run.nodes if node.state != "cached"}

    def edit(self, file: str, text: str) -> None:
        path = self.project / file
        path.write_text(path.read_text() + text)


def test_an_edit_runs_the_nodes_with_that_code_and_those_after_them(tmp_path) -> None:
    with Copy(tmp_path) as copy:
        assert len(copy.run()) == 15
        copy.edit("pipeline/operations/summary.py", "\n# A comment.\n")
        copy.edit("modules/losses/triplet_loss.py", "\n# A comment.\n")
        assert copy.run() == RESOLVERS
        copy.edit("modules/losses/triplet_loss.py", "\nEDITED = True\n")
        trained = {"Trainer", "Evaluator", "ReportGen", "IndexGen", "Pusher"}
        assert copy.run() == RESOLVERS | trained
        copy.edit("modules/retrieval/metrics.py", "\nEDITED = True\n")
        assert copy.run() == RESOLVERS | {"Evaluator", "ReportGen", "IndexGen", "Pusher"}
        copy.edit("components/triplet_gen/sampling.py", "\nEDITED = True\n")
        assert copy.run() == RESOLVERS | {"TripletGen"} | trained
