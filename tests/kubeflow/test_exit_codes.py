"""Each kind of error through `python -m kubeflow`: its exit code, and one message on stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubeflow.__main__ import run_main
from pipeline.config import PROJECT
from pipeline.runtime import ExitCode

CLOSED = "http://localhost:9"  # the discard port: nobody listens


def kubeflow(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubeflow", *map(str, arguments)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("KFP_", "METADATA_"))},
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        f'[pipeline]\nname = "mine"\n[data]\npath = "{tmp_path}"\n'
        f'[kubeflow]\ndirectory = "{tmp_path}"\n'
    )
    return path


def test_a_wrong_configuration(path) -> None:
    path.write_text(path.read_text() + 'memmory = "4Gi"\n')
    arguments = ("--config", path, "--image", "x:1", "--output", path.parent / "x.yaml")
    done = kubeflow("compile", *arguments)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: ")
    assert "kubeflow.memmory: unknown key" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_api_that_is_not_there() -> None:
    done = kubeflow("status", "--host", CLOSED)
    assert done.returncode == ExitCode.FAILED
    assert "error: The API cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metadata_database_that_is_not_there(path) -> None:
    path.write_text(path.read_text() + 'metadata = "mysql://127.0.0.1:9/triplet"\n')
    done = kubeflow("local", "--config", path)
    assert done.returncode == ExitCode.FAILED
    assert "error: " in done.stderr
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_command_line(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run_main(["status", "--no-such-option"])
    assert ended.value.code == ExitCode.USAGE
    assert "No such option" in capsys.readouterr().err
