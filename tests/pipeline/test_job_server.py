"""Jobs on Prism that last, and job servers and workers that are killed: a clear end, within bounds.

The jobs are small on purpose: what is tested is who notices what.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import psutil
import pytest

from kubeflow.retrying import may_pass
from pipeline import job_server
from pipeline.config import BeamSettings
from pipeline.job_server import JobServerError
from tests.components.portable import needs_prism, prism, running_prism, worker_pool

# Threads of Beam in this process complain when the server is gone.
pytestmark = [
    needs_prism,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


class Wait(beam.DoFn):
    """Writes its process into a file, then takes its time."""

    def __init__(self, note: Path, seconds: float) -> None:
        self._note, self._seconds = str(note), seconds

    def process(self, element: int) -> Iterator[tuple[int, int]]:
        Path(self._note).write_text(str(os.getpid()))
        time.sleep(self._seconds)
        yield element % 2, element


def run(beam_settings: BeamSettings, note: Path, seconds: float, *further: str) -> None:
    with beam.Pipeline(argv=[*beam_settings.arguments, *further]) as pipeline:
        _ = (
            pipeline
            | beam.Create([1])
            | beam.ParDo(Wait(note, seconds))
            | beam.GroupByKey()
            | beam.Map(print)
        )


def when_working(note: Path, action) -> None:
    """Calls `action` with the id of the worker's process, once it works."""

    def wait() -> None:
        while not (note.exists() and note.read_text()):
            time.sleep(0.01)
        action(int(note.read_text()))

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[BeamSettings, subprocess.Popen]]:
    with running_prism(tmp_path) as (endpoint, process):
        yield BeamSettings(runner="portable", endpoint=endpoint), process


def test_a_job_longer_than_the_timeout_of_a_question(server, tmp_path) -> None:
    """Beam's own runner fails here after `--job_server_timeout`, 300 seconds by default."""
    beam_settings, _ = server
    run(beam_settings, tmp_path / "note", 2.0, "--job_server_timeout=1")


def test_a_job_server_that_is_killed(server, tmp_path) -> None:
    beam_settings, process = server
    when_working(tmp_path / "note", lambda _: process.kill())
    started = time.monotonic()
    said = rf"The job server {beam_settings.endpoint} ended, or refused .*Start it again"
    with pytest.raises(JobServerError, match=said) as error:
        run(beam_settings, tmp_path / "note", 1.0)
    assert time.monotonic() - started < 30
    assert may_pass(error.value)


def test_a_job_server_that_is_silent(server, tmp_path, monkeypatch) -> None:
    """As when its machine is gone: the connection stays, and nobody answers."""
    beam_settings, process = server
    monkeypatch.setattr(job_server, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(job_server, "ANSWER_WITHIN", 0.2)
    when_working(tmp_path / "note", lambda _: process.send_signal(signal.SIGSTOP))
    said = f"The job server {beam_settings.endpoint} has answered none of 3 questions"
    with pytest.raises(JobServerError, match=said):
        run(beam_settings, tmp_path / "note", 1.0)
    process.kill()


def test_no_job_server(tmp_path) -> None:
    with running_prism(tmp_path) as (endpoint, _):
        pass
    with pytest.raises(JobServerError, match=f"The job server {endpoint} cannot be reached"):
        run(
            BeamSettings(runner="portable", endpoint=endpoint),
            tmp_path / "note", 0, "--job_server_timeout=1",
        )  # fmt: skip


def test_a_worker_that_is_killed(server, tmp_path) -> None:
    beam_settings, _ = server
    when_working(tmp_path / "note", lambda worker: psutil.Process(worker).kill())
    with worker_pool(tmp_path) as pool:
        pooled = beam_settings.model_copy(update={"worker_pool": pool})
        said = "A worker process of the job server .* ended before its work was done"
        with pytest.raises(JobServerError, match=said) as error:
            run(pooled, tmp_path / "note", 60.0)
    assert may_pass(error.value)


def test_what_a_step_raises_is_no_fault_of_the_server(server, tmp_path) -> None:
    beam_settings, _ = server
    with pytest.raises(RuntimeError, match="IsADirectoryError") as error:
        run(beam_settings, tmp_path, 0)
    assert not isinstance(error.value, JobServerError)
    assert prism()
