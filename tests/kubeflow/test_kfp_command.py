"""What kubeflow/README.md leaves to the command of the kfp package, by this command itself."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import PROJECT
from tests.kubeflow.api_server import Api, serve

README = (PROJECT / "kubeflow" / "README.md").read_text(encoding="utf-8")
HOST = "http://localhost:8888"


@pytest.fixture
def api():
    with serve(token="secret") as api:
        made = {"status": "ENABLED", "created_at": "2027-01-01T00:00:00Z"}
        api.schedules = [{"recurring_run_id": "id-7", "display_name": "nightly", **made}]
        api.runs = [{"run_id": "id-8", "display_name": "first", "state": "RUNNING", **made}]
        yield api


def kfp(*arguments: str, api: Api) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("kfp"), *arguments],
        capture_output=True, text=True, check=False,
        env=os.environ | {"KFP_EXISTING_TOKEN": "secret", "KFP_ENDPOINT": api.url},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_readme(api) -> None:
    lines = re.findall(r"^\.venv/bin/kfp (.*)$", README, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert HOST in line
        kfp(*shlex.split(line.replace(HOST, api.url)), api=api)


def test_lists_by_the_variables_of_kfp(api) -> None:
    assert "KFP_ENDPOINT" in README
    assert "KFP_EXISTING_TOKEN" in README
    assert re.search(r"id-8 +first .*RUNNING", kfp("run", "list", api=api))
    assert re.search(r"id-7 +nightly .*ENABLED", kfp("recurring-run", "list", api=api))
