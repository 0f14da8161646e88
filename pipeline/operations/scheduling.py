"""`python -m pipeline schedule`: a systemd timer or a cron entry for `retrain`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from pipeline.config import PROJECT, Config, config_path, load_config
from pipeline.operations.crontab import cron_line, read_crontab, with_entry, write_crontab
from pipeline.runtime import ConfigError, ExitCode, call, require

_SERVICE = """\
[Unit]
Description=Retrain the pipeline {name}
Documentation=file://{project}/README.md

[Service]
Type=oneshot
WorkingDirectory={project}
ExecStart={command}
# Another run goes on: nothing to do and nothing wrong. Data or models that were rejected (3, 4) and
# failures are, and show in `systemctl --user --failed`; OnFailure= in a drop-in can send word.
SuccessExitStatus={locked}
# The command ends a run that takes longer than [retraining] hours_per_run itself.
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


@click.command("schedule")
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option(
    "--at",
    metavar="CALENDAR",
    help="When, as systemd's OnCalendar: daily, 'Mon 03:00', '*-*-* 02:30'.  [default: daily]",
)
@click.option("--cron", metavar="'M H D M W'", help="When, for cron; in place of a systemd timer.")
@click.option("--install", is_flag=True, help="Install it for this user instead of printing it.")
@click.option("--uninstall", is_flag=True, help="Remove what --install has installed.")
def schedule_command(
    config_name: str | None, at: str | None, cron: str | None, install: bool, uninstall: bool
) -> None:
    """Print or install a systemd user timer, or a cron entry, that runs `retrain`.

    Runs never overlap: one that finds another at work ends with exit code 75.
    """
    if at and cron:
        raise click.UsageError("--at is for systemd and --cron for cron; give one of them.")
    if install and uninstall:
        raise click.UsageError("--install and --uninstall exclude each other.")
    config = load_config(config_name)
    if uninstall:
        remove(config)
        return
    command = retrain_argv(config_path(config_name))
    if cron:
        line = cron_line(cron, command)
        if install:
            write_crontab(with_entry(read_crontab(), config.pipeline.name, line))
            click.echo("Installed in the crontab of this user.")
        else:
            click.echo(line)
        return
    units = systemd_units(config, command, at or "daily")
    if install:
        _install_units(units)
        return
    for name, text in units.items():
        click.echo(f"# {_unit_folder() / name}\n{text}")


def retrain_argv(config: Path) -> list[str]:
    """The command that the schedule runs, in the project folder."""
    return [sys.executable, "-m", "pipeline", "retrain", "--config", str(config)]


def systemd_units(config: Config, command: list[str], at: str) -> dict[str, str]:
    """Writes the units.

    Args:
        config: The pipeline; its name is in those of the units.
        command: Program and arguments.
        at: Calendar expression of systemd.time(7).

    Returns:
        Text by name of the unit: a service and its timer.

    Raises:
        ConfigError: systemd does not understand `at`, where it is there to be asked.
    """
    _check_calendar(at)
    name = config.pipeline.name
    service = _SERVICE.format(
        name=name,
        project=str(PROJECT).replace("%", "%%"),
        command=" ".join(map(_systemd_quote, command)),
        locked=int(ExitCode.LOCKED),
    )
    return {
        f"{_unit(name)}.service": service,
        f"{_unit(name)}.timer": _TIMER.format(name=name, at=at.replace("%", "%%")),
    }


def _unit(name: str) -> str:
    return f"triplet-{name}"


def _systemd_quote(argument: str) -> str:
    """One argument of ExecStart; see systemd.service(5), "Command lines"."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def _check_calendar(at: str) -> None:
    if not at.strip() or not at.isprintable():
        raise ConfigError(f"--at is {at!r}, expected a calendar expression such as 'daily'.")
    if shutil.which("systemd-analyze"):
        answer = call(["systemd-analyze", "calendar", "--", at])
        if answer.returncode:
            raise ConfigError(
                f"--at is {at!r}, which systemd does not understand: {answer.stderr.strip()}. "
                "Give a calendar expression such as daily, 'Mon 03:00' or '*-*-* 02:30' "
                "(man systemd.time)."
            )


def _unit_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"


def _install_units(units: dict[str, str]) -> None:
    require("systemctl", "Use --cron, or print the units and install them where systemd runs.")
    folder = _unit_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"Wrote {folder / name}")
    timer = next(name for name in units if name.endswith(".timer"))
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", timer)
    click.echo(
        f"Enabled {timer}; `systemctl --user list-timers` shows when it is due. It runs while you "
        "are logged in; `loginctl enable-linger` keeps it running after that."
    )


def _systemctl(*arguments: str) -> None:
    answer = call(["systemctl", "--user", *arguments])
    if answer.returncode:
        raise ConfigError(
            f"`systemctl --user {' '.join(arguments)}` failed: {answer.stderr.strip()}. The units "
            f"are in {_unit_folder()}; is there a systemd session of this user (loginctl)? "
            "Without one, use --cron."
        )


def remove(config: Config) -> None:
    """Removes timer, service and cron entry of a pipeline, whichever there are."""
    name, found = config.pipeline.name, False
    units = [_unit_folder() / f"{_unit(name)}.{kind}" for kind in ("timer", "service")]
    if any(unit.exists() for unit in units):
        found = True
        if shutil.which("systemctl"):  # where nothing runs there is nothing to stop
            call(["systemctl", "--user", "disable", "--now", units[0].name])
        for unit in units:
            unit.unlink(missing_ok=True)
            click.echo(f"Removed {unit}")
        if shutil.which("systemctl"):
            call(["systemctl", "--user", "daemon-reload"])
    if shutil.which("crontab"):
        before = read_crontab()
        after = with_entry(before, name, None)
        if after != before:
            found = True
            write_crontab(after)
            click.echo("Removed from the crontab of this user.")
    if not found:
        click.echo(f"Pipeline {name!r} is not scheduled.")
