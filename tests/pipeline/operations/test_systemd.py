"""Units that systemd itself reads, through the command `schedule`."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands import main
from pipeline.commands.schedule import retrain_argv
from pipeline.config.paths import PROJECT
from pipeline.operations.systemd import systemd_units
from pipeline.runtime import ConfigError, ProgramError

HAS_SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="no systemd-analyze on this machine")


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "50% of $HOME" / 'a "b".toml'
    path.parent.mkdir()
    path.write_text(f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    return path


@needs_systemd
def test_systemd_accepts_the_units(config_file, tmp_path) -> None:
    units = systemd_units("mine", retrain_argv(config_file), "Mon..Fri 02:30")
    assert set(units) == {"triplet-mine.service", "triplet-mine.timer"}
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    answer = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *(str(tmp_path / n) for n in units)],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    ours = [line for line in answer.stderr.splitlines() if "triplet-mine" in line]
    assert (answer.returncode, ours) == (0, []), answer.stderr


@needs_systemd
def test_systemd_does_not_accept_everything(config_file, tmp_path) -> None:
    """The test above can fail."""
    units = systemd_units("mine", retrain_argv(config_file), "daily")
    path = tmp_path / "triplet-mine.service"
    path.write_text(units[path.name].replace("ExecStart=", "ExecStrat="))
    answer = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert "triplet-mine" in answer.stderr


def test_the_service_says_what_is_no_failure_and_the_timer_makes_up_for_missed_times(
    config_file,
) -> None:
    units = systemd_units("mine", retrain_argv(config_file), "daily")
    service = units["triplet-mine.service"].splitlines()
    assert "SuccessExitStatus=75" in service
    assert f"WorkingDirectory={PROJECT}" in service
    (command,) = (line for line in service if line.startswith("ExecStart="))
    assert command.endswith('/50%% of $$HOME/a \\"b\\".toml"')
    timer = units["triplet-mine.timer"].splitlines()
    assert "OnCalendar=daily" in timer
    assert "Persistent=true" in timer


@pytest.mark.parametrize("at", ["", " ", "daily\nPersistent=false"])
def test_no_calendar_expression(at: str) -> None:
    with pytest.raises(ConfigError, match="--at is"):
        systemd_units("mine", ["true"], at)


@needs_systemd
@pytest.mark.parametrize("at", ["dayly", "25:00", "--help"])
def test_systemd_is_asked_for_the_calendar_expression(at: str) -> None:
    with pytest.raises(ConfigError, match="systemd does not understand"):
        systemd_units("mine", ["true"], at)


FAKE_SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$SYSTEMCTL_CALLS"\nexit ${SYSTEMCTL_STATUS:-0}\n'


def test_units_are_installed_and_removed(config_file, tmp_path, monkeypatch) -> None:
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(FAKE_SYSTEMCTL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SYSTEMCTL_CALLS", str(calls))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    folder = tmp_path / "xdg" / "systemd" / "user"
    arguments = ["schedule", "--config", str(config_file)]
    result = CliRunner().invoke(main, [*arguments, "--install"], catch_exceptions=False)
    assert "enable-linger" in result.output
    assert {path.name for path in folder.iterdir()} == {
        "triplet-mine.service",
        "triplet-mine.timer",
    }
    assert calls.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now triplet-mine.timer",
    ]
    CliRunner().invoke(main, [*arguments, "--uninstall"], catch_exceptions=False)
    assert not list(folder.iterdir())
    assert "--user disable --now triplet-mine.timer" in calls.read_text()
    monkeypatch.setenv("SYSTEMCTL_STATUS", "1")
    with pytest.raises(ProgramError, match="daemon-reload` failed"):
        CliRunner().invoke(main, [*arguments, "--install"], catch_exceptions=False)
