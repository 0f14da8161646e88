"""The command `schedule` where a program is missing or fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands import main
from pipeline.config.paths import PROJECT
from pipeline.runtime import ExitCode, ProgramError


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "50% of $HOME" / 'a "b".toml'
    path.parent.mkdir()
    path.write_text(f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    return path


def test_without_the_program_it_says_so(config_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    arguments = ["schedule", "--config", str(config_file), "--install"]
    with pytest.raises(ProgramError, match=r"no systemctl on this machine.*--cron"):
        CliRunner().invoke(main, arguments, catch_exceptions=False)
    with pytest.raises(ProgramError, match=r"no crontab on this machine.*--at"):
        CliRunner().invoke(main, [*arguments, "--cron", "1 1 * * *"], catch_exceptions=False)
    assert not (tmp_path / "xdg").exists()


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
