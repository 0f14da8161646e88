"""Programs of the system, which may be there or not."""

from __future__ import annotations

import shutil
import subprocess

from pipeline.runtime import ConfigError


def require(program: str, remedy: str) -> None:
    """Checks that a program is there.

    Raises:
        ConfigError: It is not.
    """
    if not shutil.which(program):
        raise ConfigError(f"There is no {program} on this machine. {remedy}")


def call(command: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program with `text` as its input; its status is for the caller to look at."""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)
