"""Real runs in processes of their own, to be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from modules.contract import make_example
from pipeline.config import PROJECT, Config, load_config
from pipeline.runtime import lock_path
from pipeline.runtime.scratch import scratch_path
from tests.real_data import digits


class Started:
    """A pipeline on a few images that no run of the tests ever finishes."""

    def __init__(self, root: Path) -> None:

        self.root = root
        self.path = root / "killed.toml"
        (root / "data").mkdir()
        self.path.write_text(
            f'[pipeline]\nname = "killed"\ndirectory = "{root}"\n'
            f'[data]\npath = "{root}/data"\nsplit = "hash"\n'
        )
        with tf.io.TFRecordWriter(str(root / "data" / "all.tfrecord")) as writer:
            for row in digits(4):
                writer.write(make_example(*row).SerializeToString())

    @property
    def config(self) -> Config:
        return load_config(str(self.path))

    @contextlib.contextmanager
    def stopped_at_its_first_node(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Starts a command, and stops the process that works as soon as a node runs.

        Yields the process of the command; `worker` tells which one works.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command, "--config", str(self.path)],
            cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        working = {process.pid}
        try:
            # The folder appears when the node is in the metadata, before it does anything.
            examples = self.root / "killed" / "artifacts" / "ImportExampleGen" / "examples"
            wait_for(examples.exists, process)
            working.add(self.worker)
            os.kill(self.worker, signal.SIGSTOP)
            yield process
        finally:
            for pid in working:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate(timeout=60)

    @property
    def worker(self) -> int:
        return int(json.loads(lock_path(self.config).read_text())["pid"])

    @property
    def scratch(self) -> Path:
        return scratch_path(self.config)


def wait_for(happens: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 240
    while not happens():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked for its status yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
