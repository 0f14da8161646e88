"""The exit code of the scheduled entry point; real runs are in tests/e2e/test_retrain.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.config.paths import PROJECT
from pipeline.metadata import RunState, RunSummary
from pipeline.operations.retraining import exit_code
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.lock import hold_lock


def run(state: str) -> RunSummary:
    return RunSummary("id", "2026-01-01", 1.0, RunState(state))


@pytest.mark.parametrize(
    ("status", "states", "code"),
    [
        (0, ["pushed"], 0),
        (0, ["nothing new"], 0),
        (0, ["rejected"], 0),
        (0, ["rejected", "pushed", "rejected"], 0),
        (0, ["rejected", "rejected"], 4),
        (0, ["rejected", "data rejected", "killed", "rejected"], 4),
        (0, ["rejected", "rejected", "nothing new"], 0),
        (1, ["rejected", "rejected", "failed"], 1),
        (1, ["data rejected"], 3),
        (1, ["rejected", "rejected", "data rejected"], 3),
        (1, ["data rejected", "no data"], 66),
        (66, [], 66),
        (-9, ["killed"], 1),
        (1, [], 1),
        (-15, [], 1),
        (75, [], 75),
        (2, [], 2),
    ],
)
def test_exit_code_of_a_run(status: int, states: list[str], code: int) -> None:
    runs = [run(state) for state in states]
    new = runs[-1] if runs else None
    assert exit_code(status, new, runs, alert_after=2) == code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path, images = tmp_path / "mine.toml", tmp_path / "images"
    images.mkdir()
    (images / "1.tfrecord").touch()
    path.write_text(
        f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "{images}"\n'
    )
    return path


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["retrain", "run"])
def test_while_another_works_nothing_starts(path, command: str) -> None:
    with hold_lock(load_config(str(path)), "gc"):
        done = call(command, "--config", str(path))
    assert done.returncode == ExitCode.LOCKED
    assert done.stderr.startswith("error: Pipeline 'mine' is in use: 'gc' (pid ")
    assert "Traceback" not in done.stderr
    assert {p.name for p in (path.parent / "mine").iterdir()} == {"lock"}


@pytest.mark.parametrize("command", ["retrain", "history", "schedule", "summary"])
def test_a_wrong_configuration(path, command: str) -> None:
    path.write_text(path.read_text() + "[retraining]\nalarm_after = 3\n")
    done = call(command, "--config", str(path))
    assert done.returncode == ExitCode.USAGE
    assert "retraining.alarm_after: unknown key; allowed here: alert_after" in done.stderr
    assert not (path.parent / "mine").exists()


def test_wrong_usage_has_the_same_code() -> None:
    assert call("retrain", "--no-such-option").returncode == ExitCode.USAGE


def test_help_and_the_page_of_operations_tell_every_exit_code() -> None:
    shown = call("retrain", "--help").stdout
    page = (PROJECT / "docs" / "operations.md").read_text()
    for code in ExitCode:
        assert f"{code:>2}  {code.meaning}" in shown
        assert f"| {code} | {code.meaning} |" in page
