"""Runs a program, keeps its output in a log, and ends it when it takes too long."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from pipeline.config import PROJECT

_GRACE = 30.0  # seconds for a program to end by itself when it is asked to


def run_supervised(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: logging.Logger,
    *,
    hours: float,
    pass_fds: Sequence[int] = (),
) -> int:
    """Runs a program in the project folder until it ends.

    It is ended after `hours`, and when this process is told to end (SIGTERM, Ctrl-C): first asked,
    since a killed run leaves unfinished files behind, and killed half a minute later.

    Args:
        command: Program and arguments.
        environment: All its environment variables.
        log: Gets each line of its output as it comes.
        hours: That it may take.
        pass_fds: Open files that it inherits.

    Returns:
        Its exit code; −N if signal N ended it.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=PROJECT,
        env=environment,
        pass_fds=pass_fds,
    )
    limit = threading.Timer(hours * 3600, _end, (process, log, f"it took more than {hours:g} h"))
    limit.daemon = True
    limit.start()
    try:
        with _terminable():
            assert process.stdout is not None
            for line in process.stdout:
                log.info(line.rstrip())
            return process.wait()
    finally:
        limit.cancel()
        if process.poll() is None:
            _end(process, log, "this process was asked to end")


def _end(process: subprocess.Popen[str], log: logging.Logger, why: str) -> None:
    log.error("The run is ended: %s.", why)
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM an exception, so that the program is ended too and not only this process."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
