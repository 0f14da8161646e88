"""Runs a program, keeps its output in a log, and ends it when it takes too long."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from modules.runtime import printable
from pipeline.config import PROJECT
from pipeline.runtime import ENDING, tied_command

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

    It is ended after `hours`, and when this process is told to end (SIGTERM, SIGHUP, Ctrl-C): first
    asked, since a killed run leaves unfinished files behind, and killed half a minute later. It is
    asked as well when this process is gone without a word. What it has started goes with it: all of
    them are one process group.

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
        tied_command(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=PROJECT,
        env=environment,
        pass_fds=pass_fds,
        process_group=0,
    )
    limit = threading.Timer(hours * 3600, _end, (process, log, f"it took more than {hours:g} h"))
    limit.daemon = True
    limit.start()
    try:
        with _terminable():
            assert process.stdout is not None
            for line in process.stdout:
                log.info(printable(line.rstrip()))
            return process.wait()
    finally:
        limit.cancel()
        if process.poll() is None:
            _end(process, log, "this process was asked to end")
        _signal(process, signal.SIGKILL)  # whatever it has left behind in its group


def _end(process: subprocess.Popen[str], log: logging.Logger, why: str) -> None:
    log.error("The run is ended: %s.", why)
    _signal(process, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
        os.killpg(process.pid, number)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes the signals to end an exception, so that the program is ended too.

    One that is ignored, as SIGHUP is under `nohup`, stays ignored.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
