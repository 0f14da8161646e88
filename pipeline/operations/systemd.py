"""A timer of systemd for this user that runs the pipeline; see systemd.timer(5)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import PROJECT
from pipeline.runtime import ConfigError, ExitCode, ProgramError, call_program, require_program

_SERVICE = """\
[Unit]
Description=Retrain the pipeline {name}
Documentation=file://{project}/docs/operations.md

[Service]
Type=oneshot
WorkingDirectory={project}
ExecStart={command}
# Another run goes on: there is nothing to do, and this is no failure. A failed run, rejected data
# and rejected models are failures: `systemctl --user --failed` shows them, and OnFailure= in a
# drop-in can send word.
SuccessExitStatus={locked}
# The command itself ends a run that takes longer than [retraining] hours_per_run.
TimeoutStartSec=infinity
# Longer than the command waits for a run to end.
TimeoutStopSec=90
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
"""
_TIMER = """\
[Unit]
Description=Retrain the pipeline {name}: {at}

[Timer]
OnCalendar={at}
# Makes up for a time at which the machine was off.
Persistent=true

[Install]
WantedBy=timers.target
"""


def systemd_units(name: str, command: Sequence[str], at: str) -> dict[str, str]:
    """Writes the units.

    Args:
        name: The pipeline, for the names of the units.
        command: Program and arguments.
        at: Calendar expression of systemd.time(7).

    Returns:
        Text by name of the unit: a service and its timer.

    Raises:
        ConfigError: `at` is no calendar expression; without systemd on this machine only its form
            is checked.
    """
    _check_calendar(at)
    service = _SERVICE.format(
        name=name,
        project=str(PROJECT).replace("%", "%%"),
        command=" ".join(map(_quoted, command)),
        locked=int(ExitCode.LOCKED),
    )
    return {
        _unit(name, "service"): service,
        _unit(name, "timer"): _TIMER.format(name=name, at=at.replace("%", "%%")),
    }


def _unit(name: str, kind: str) -> str:
    return f"triplet-{name}.{kind}"


def _quoted(argument: str) -> str:
    """One argument of ExecStart; see systemd.service(5), "Command lines"."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def _check_calendar(at: str) -> None:
    if not at.strip() or not at.isprintable():
        raise ConfigError(f"--at is {at!r}, expected a calendar expression such as 'daily'.")
    if shutil.which("systemd-analyze"):
        answer = call_program(["systemd-analyze", "calendar", "--", at])
        if answer.returncode:
            raise ConfigError(
                f"--at is {at!r}, which systemd does not understand: {answer.stderr.strip()}. "
                "Give a calendar expression such as daily, 'Mon 03:00' or '*-*-* 02:30' "
                "(man systemd.time)."
            )


def unit_folder() -> Path:
    """Where systemd looks for the units of this user."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"


def install_units(units: Mapping[str, str]) -> list[Path]:
    """Writes the units of a pipeline for this user and starts the timer.

    Args:
        units: See `systemd_units`.

    Returns:
        The files.

    Raises:
        ProgramError: There is no systemctl, or it fails; the files are there all the same.
    """
    require_program(
        "systemctl", "Use --cron, or print the units and install them where systemd runs."
    )
    folder = unit_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        (folder / name).write_text(text, encoding="utf-8")
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", *(name for name in units if name.endswith(".timer")))
    return [folder / name for name in units]


def _systemctl(*arguments: str) -> None:
    answer = call_program(["systemctl", "--user", *arguments])
    if answer.returncode:
        raise ProgramError(
            f"`systemctl --user {' '.join(arguments)}` failed: {answer.stderr.strip()}. The units "
            f"are in {unit_folder()}; is there a systemd session of this user (loginctl)? "
            "Without one, use --cron."
        )


def remove_units(name: str) -> list[Path]:
    """Stops the timer of a pipeline and removes its units, as far as there are any.

    Returns:
        The files that it removed.
    """
    files = [unit_folder() / _unit(name, kind) for kind in ("timer", "service")]
    found = [file for file in files if file.exists()]
    running = bool(found) and shutil.which("systemctl")  # else there is nothing to stop
    if running:
        call_program(["systemctl", "--user", "disable", "--now", files[0].name])
    for file in found:
        file.unlink()
    if running:
        call_program(["systemctl", "--user", "daemon-reload"])
    return found
