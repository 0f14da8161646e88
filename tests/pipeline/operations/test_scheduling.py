"""Units that systemd itself reads, and a crontab that keeps what is not ours."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from pipeline.commands import main
from pipeline.commands.schedule import retrain_argv
from pipeline.config.paths import PROJECT
from pipeline.operations.crontab import cron_line, with_entry
from pipeline.operations.systemd import systemd_units
from pipeline.runtime import ConfigError, ExitCode, ProgramError

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


def test_the_shell_runs_the_line_of_cron(config_file) -> None:
    """What cron hands to the shell: it takes the backslash before a percent sign away."""
    command = [sys.executable, "-c", "import os, sys; print(os.getcwd(), sys.argv[1])"]
    line = cron_line("*/5 1-3,7 * * 0", [*command, str(config_file)])
    assert line.startswith("*/5 1-3,7 * * 0 cd ")
    assert "%" not in line.replace("\\%", "")
    shell = line.split(maxsplit=5)[5].replace("\\%", "%")
    answer = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert answer.stdout == f"{PROJECT} {config_file}\n"


@pytest.mark.parametrize(
    "when",
    ["daily", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
     "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *", "", "1, * * * *", "5-70 * * * *"],
)  # fmt: skip
def test_no_time_of_cron(when: str) -> None:
    with pytest.raises(ConfigError, match="expected five fields"):
        cron_line(when, ["true"])


lines = st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20))


@given(before=lines, after=lines)
def test_the_rest_of_a_crontab_stays(before: list[str], after: list[str]) -> None:
    def text(rows: list[str]) -> str:
        return "".join(f"{row}\n" for row in rows)

    old = with_entry(text(before), "mine", "1 1 * * * old") + text(after)
    new = with_entry(old, "mine", "2 2 * * * new")
    assert new.count("new") - text(before + after).count("new") == 1
    assert "1 1 * * * old" not in new
    assert with_entry(new, "mine", "2 2 * * * new") == new
    assert with_entry(new, "mine", None) == text(before + after)
    assert with_entry(new, "min", None) == new


FAKE_CRONTAB = """#!/bin/sh
[ "$1" = -l ] && { cat "$CRONTAB_FILE" 2>/dev/null || { echo "no crontab for me" >&2; exit 1; }; }
[ "$1" = - ] && cat > "$CRONTAB_FILE"
exit 0
"""


def test_cron_entry_is_installed_once_and_removed(config_file, tmp_path, monkeypatch) -> None:
    """Through a crontab program that keeps its file here, not the one of whoever runs the tests."""
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(FAKE_CRONTAB)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    kept = tmp_path / "kept"
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CRONTAB_FILE", str(kept))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    arguments = ["schedule", "--config", str(config_file)]
    for _ in range(2):
        CliRunner().invoke(
            main, [*arguments, "--cron", "30 2 * * *", "--install"], catch_exceptions=False
        )
    assert kept.read_text().count("-m pipeline retrain") == 1
    kept.write_text("5 5 * * * other\n" + kept.read_text())
    CliRunner().invoke(main, [*arguments, "--uninstall"], catch_exceptions=False)
    assert kept.read_text() == "5 5 * * * other\n"


def test_without_the_program_it_says_so(config_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    arguments = ["schedule", "--config", str(config_file), "--install"]
    with pytest.raises(ProgramError, match=r"no systemctl on this machine.*--cron"):
        CliRunner().invoke(main, arguments, catch_exceptions=False)
    with pytest.raises(ProgramError, match=r"no crontab on this machine.*--at"):
        CliRunner().invoke(main, [*arguments, "--cron", "1 1 * * *"], catch_exceptions=False)
    assert not (tmp_path / "xdg").exists()


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


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("systemctl", ["--install"], "error: `systemctl --user daemon-reload` failed: no bus."),
        ("crontab", ["--cron", "1 1 * * *", "--install"], "error: `crontab -l` failed: no bus."),
    ],
)
def test_a_program_that_fails_is_no_wrong_configuration(
    config_file, tmp_path, program: str, arguments: list[str], message: str
) -> None:
    path = tmp_path / "bin" / program
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    path.chmod(0o755)

    def schedule(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "schedule", "--config", config_file, *arguments],
            cwd=PROJECT, capture_output=True, text=True, check=False,
            env=os.environ
            | {"PATH": f"{path.parent}:/usr/bin:/bin", "XDG_CONFIG_HOME": str(tmp_path / "xdg")},
        )  # fmt: skip

    done = schedule(*arguments)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    # A wrong time is a wrong configuration, whatever the programs do.
    done = schedule("--cron", "daily")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: --cron is 'daily', expected five fields")
