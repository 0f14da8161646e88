"""How a process ends when it is told to, and when the one that started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

# Sent by `kill` and systemd, and by a terminal that is closed. Ctrl-C is Python's own matter.
ENDING = (signal.SIGTERM, signal.SIGHUP)
_GRACE = 10.0  # seconds to tidy up; a node may be deep in a library that does not look up
_TIED = Path(__file__).with_name("tied.py")


def end_when_told() -> None:
    """Makes SIGTERM and SIGHUP an orderly end with the exit code 128 + their number.

    What is open is closed on the way, as after an error; a process that does not get there within
    some seconds is ended all the same. A signal that is ignored, as SIGHUP under `nohup`, stays so.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    code = 128 + number
    late = threading.Timer(_GRACE, os._exit, (code,))
    late.daemon = True
    late.start()
    raise SystemExit(code)


def ended_by(status: int) -> signal.Signals | None:
    """The signal that ended a process, by its exit code: −N, or 128 + N as shells have it."""
    number = -status if status < 0 else status - 128
    return signal.Signals(number) if number in [*signal.Signals] else None


def tied_command(command: Sequence[str]) -> list[str]:
    """A command that is told to end (SIGTERM) when this process is gone, however that ends.

    Args:
        command: Program and arguments. It must be started from the main thread, which the kernel
            takes for the process.
    """
    return [sys.executable, "-S", str(_TIED), str(os.getpid()), *command]
