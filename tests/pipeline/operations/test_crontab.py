"""A crontab that keeps what is not ours, through the command `schedule`."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from pipeline.commands import main
from pipeline.config.paths import PROJECT
from pipeline.operations.crontab import cron_line, with_entry
from pipeline.runtime import ConfigError


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "50% of $HOME" / 'a "b".toml'
    path.parent.mkdir()
    path.write_text(f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    return path


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
