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
    # The pool starts `python` and its workers import the project.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT)}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(port, process, log)
        yield f"localhost:{port}"
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


def prism_job_server(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Prism; `go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0` builds it."""
    port = free_port()
    command = [str(prism()), f"-job_port={port}", "-serve_http=false"]
    return running(command, port, folder / "prism.log")


def worker_pool(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Starts a process for each worker that a job server asks for."""
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    command = [sys.executable, "-m", module, "--service_port", str(port)]
    return running(command, port, folder / "pool.log")
