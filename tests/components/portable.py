"""Job servers of Apache Beam, for tests of its nodes on a portable runner."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Runs a server; gives its address."""
    with started(command, port, log):
        yield f"localhost:{port}"


@contextlib.contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen]:
    """Runs a server; gives its process."""
    # The pool starts `python` and its workers import the project.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT)}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(port, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python_job_server(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Beam's own job server in Python."""
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    command = [sys.executable, "-m", module, "--port", str(port), "--staging_dir", str(folder)]
    return running(command, port, folder / "job-server.log")


def prism() -> str | None:
    """The program of Beam's job server in Go, if it was built or installed."""
    return shutil.which("prism") or shutil.which("prism", path=str(Path.home() / "go" / "bin"))


needs_prism = pytest.mark.skipif(
    prism() is None,
    reason="no program `prism`; with Go: "
    "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0",
)


@contextlib.contextmanager
def running_prism(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Prism; gives its address and its process."""
    port = free_port()
    command = [str(prism()), f"-job_port={port}", "-serve_http=false"]
    with started(command, port, folder / "prism.log") as process:
        yield f"localhost:{port}", process


@contextlib.contextmanager
def prism_job_server(folder: Path) -> Iterator[str]:
    """Prism; gives its address."""
    with running_prism(folder) as (endpoint, _):
        yield endpoint


def worker_pool(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Starts a process for each worker that a job server asks for."""
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [sys.executable, "-m", module, "--service_port", str(port)]
    return running(command, port, folder / "pool.log")
