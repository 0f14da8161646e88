"""Who starts the workers: this machine, for a trial, or whoever has said that it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import IO, Protocol

_SECONDS_TO_END = 10
_MOST_OF_A_LOG = 2000  # characters
# TensorFlow's C++ would complain of GPUs that it is not to see; errors come by the meeting.
_ON_PROCESSORS = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
ALONE = "127.0.0.1"  # the address of workers that are all on one machine


class Started(Protocol):
    """Workers that were started."""

    def lost(self) -> str | None:
        """What became of one that is gone without having said why; None while there is none."""

    def ended(self) -> bool:
        """Whether all of them have ended, and are not lost."""

    def stop(self) -> None:
        """Ends those that go on; they are gone when it returns."""


# From the folder of the meeting and the numbers of the workers.
Starter = Callable[[str, range], Started]
_starters: list[Starter] = []


def use_starter(starter: Starter | None) -> None:
    """Says who starts the workers other than the chief in this process; None: this machine."""
    _starters[:] = [] if starter is None else [starter]


def start_all(folder: str, count: int) -> list[Started]:
    """Starts the chief here, and the others where `use_starter` says.

    Without it all are on this machine, and on its processors: they would take the memory of a GPU
    from each other.
    """
    if not _starters:
        return [start_here(folder, range(count), _ON_PROCESSORS, ALONE)]
    chief = start_here(folder, range(1))
    try:
        return [chief, *(starter(folder, range(1, count)) for starter in _starters)]
    except BaseException:
        chief.stop()
        raise


def start_here(
    folder: str,
    numbers: Iterable[int],
    environment: dict[str, str] | None = None,
    host: str | None = None,
) -> Processes:
    """Starts workers as processes of this machine.

    They import what this process imports, and end with it. The chief prints what it has to say, the
    others write it to a file that a message about them quotes.

    Args:
        folder: Of the meeting.
        numbers: Of the workers.
        environment: Variables beside those of this process.
        host: Under which the others reach them; default: that of the machine.
    """
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "modules.trainer", "--tied", "--folder", folder]
    command += ["--host", host] if host else []
    processes = Processes()
    try:
        for number in numbers:
            log = tempfile.TemporaryFile() if number else None  # noqa: SIM115
            processes.add(
                subprocess.Popen(
                    [*command, "--number", str(number)],
                    stdin=subprocess.PIPE,  # ends with this process, and they with it
                    stdout=log,
                    stderr=log and subprocess.STDOUT,
                    env=os.environ | path | (environment or {}),
                    start_new_session=True,  # Ctrl-C is for the Trainer, which ends them
                ),
                number,
                log,
            )
    except BaseException:
        processes.stop()
        raise
    return processes


class Processes:
    """Processes of this machine; see `Started`."""

    def __init__(self) -> None:
        self._all: list[tuple[subprocess.Popen[bytes], int, IO[bytes] | None]] = []

    def add(self, process: subprocess.Popen[bytes], number: int, log: IO[bytes] | None) -> None:
        """Takes one in."""
        self._all.append((process, number, log))

    def lost(self) -> str | None:
        """See `Started`."""
        for process, number, log in self._all:
            if code := process.poll():
                how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
                return f"Worker {number} was killed ({how}).{_end_of(log)}"
        return None

    def ended(self) -> bool:
        """See `Started`."""
        return all(process.poll() == 0 for process, _, _ in self._all)

    def stop(self) -> None:
        """See `Started`."""
        for process, _, _ in self._all:
            process.terminate()
        for process, _, log in self._all:
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:  # it waits for another one, and hears nothing
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
            if log:
                log.close()


def _end_of(log: IO[bytes] | None) -> str:
    if log is None:
        return ""
    log.seek(0)
    text = log.read().decode(errors="replace").strip()[-_MOST_OF_A_LOG:]
    return f" The end of its log:\n{text}" if text else ""
