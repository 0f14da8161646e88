"""`python -m pipeline schedule`: a systemd timer or a cron entry for `retrain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from modules.runtime import printable, shown
from pipeline.commands.options import config_option
from pipeline.config import PROJECT, config_path, load_config
from pipeline.operations import (
    cron_line,
    install_entry,
    install_units,
    remove_entry,
    remove_units,
    systemd_units,
    unit_folder,
)
from pipeline.runtime import ConfigError


@click.command("schedule")
@config_option
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
    name = load_config(config_name).pipeline.name
    if uninstall:
        _uninstall(name)
        return
    command = retrain_argv(config_path(config_name))
    if cron:
        line = cron_line(cron, command)
        if install:
            install_entry(name, line)
            click.echo("Installed in the crontab of this user.")
        else:
            click.echo(line)
        return
    units = systemd_units(name, command, at or "daily")
    if install:
        for file in install_units(units):
            click.echo(f"Wrote {file}")
        click.echo(
            "The timer is enabled; `systemctl --user list-timers` shows when it is due. It runs "
            "while you are logged in; `loginctl enable-linger` keeps it running after that."
        )
        return
    for unit, text in units.items():
        click.echo(f"# {unit_folder() / unit}\n{text}")


def retrain_argv(config: Path) -> list[str]:
    """The command that the schedule runs, in the project folder.

    Raises:
        ConfigError: A path has a line end or another control character, which would end the line of
            a unit or of a crontab.
    """
    for path in (str(config), sys.executable, str(PROJECT)):
        if printable(path) != path or "\n" in path or "\t" in path:
            raise ConfigError(
                f"The path {shown(path)} has a control character, which no unit file and no "
                "crontab can hold; rename the file or its folder."
            )
    return [sys.executable, "-m", "pipeline", "retrain", "--config", str(config)]


def _uninstall(name: str) -> None:
    files = remove_units(name)
    for file in files:
        click.echo(f"Removed {file}")
    entry = remove_entry(name)
    if entry:
        click.echo("Removed from the crontab of this user.")
    if not files and not entry:
        click.echo(f"Pipeline {name!r} is not scheduled.")
