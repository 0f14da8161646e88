"""Each kind of error through `python -m pipeline`, and the table of exit codes for people.

A lock that is held and a program that fails are in tests/pipeline/operations.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import PROJECT
from pipeline.runtime import (
    ApiError,
    ConfigError,
    ExitCode,
    LockedError,
    MetadataError,
    NodeFailedError,
    NotRunError,
    PipelineError,
    ProgramError,
)


def pipeline(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PipelineError, 1),
        (NodeFailedError, 1),
        (MetadataError, 1),
        (ProgramError, 1),
        (ApiError, 1),
        (ConfigError, 2),
        (NotRunError, 2),
        (LockedError, 75),
    ],
)
def test_every_error_has_its_exit_code(error: type[PipelineError], code: int) -> None:
    assert issubclass(error, PipelineError)
    assert error("x").exit_code == code


@pytest.mark.parametrize("command", ["summary", "history", "reference-scores"])
def test_a_pipeline_that_has_not_run(command: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    done = pipeline(command, "--config", path)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: ")
    assert "has not run yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_about_operations_has_the_table() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line[:3].strip("| ").isdigit()]
    assert rows == [f"| {code:d} | {code.meaning} |" for code in ExitCode]
