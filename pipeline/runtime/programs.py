"""Programs of the system, which may be there or not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from pipeline.runtime.errors import ProgramError


def require_program(program: str, remedy: str) -> None:
    """Checks that a program is there.

    Args:
        program: Its name, looked for on PATH.
        remedy: What to do without it, for the message.

    Raises:
        ProgramError: It is not there.
    """
    if not shutil.which(program):
        raise ProgramError(f"There is no {program} on this machine. {remedy}")


def call_program(
    command: Sequence[str], text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program and waits for its end.

    Args:
        command: Program and arguments.
        text: What it reads from its standard input.

    Returns:
        Its output and status. The caller looks at the status: not every program that ends with
        another status than 0 has failed.
    """
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)
