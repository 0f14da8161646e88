"""What the README promises: your own images, by the commands and files that it shows.

That every command in it exists with its options is checked by tests/test_docs.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import PROJECT, block_commands, blocks
from tests.real_data import digits

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_the_commands_that_people_need_first_are_there() -> None:
    commands = [" ".join(command) for command in block_commands(README)]
    for command in (
        "make run",
        "make test",
        "make run CONFIG=mine.toml",
        ".venv/bin/tfx run create --engine local --pipeline_name mnist-sample",
    ):
        assert command in commands


@pytest.mark.slow
def test_your_own_images_as_the_readme_says(tmp_path: Path) -> None:
    for image, label, example_id in digits(60):
        path = tmp_path / "photos" / label.decode() / (example_id.decode()[-4:] + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    (text,) = blocks(README, "toml")
    # The README's example, on these photos, in this folder, and shorter.
    text = text.replace('"photos"', f'"{tmp_path}/photos"').replace("steps = 600", "steps = 20")
    text = text.replace('name = "mine"', f'name = "mine"\ndirectory = "{tmp_path}"')
    (tmp_path / "mine.toml").write_text(text)
    done = run("run", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "precision@1" in done.stdout
    (version,) = (tmp_path / "mine" / "serving").glob("[0-9]*")
    assert f"Pushed to {version}" in done.stdout
    assert done.stderr == ""
    # The lines that the README shows begin as they do there.
    for shown in ("Retrieval on the eval split", "BLESSED: every threshold is met.", "Pushed to "):
        assert f"\n{shown}" in README
        assert f"\n{shown}" in done.stdout

    (snippet,) = blocks(README, "python")
    for written, here in {".work/mnist-sample/serving/VERSION": version, "one.png": path}.items():
        assert written in snippet
        snippet = snippet.replace(written, str(here))
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["embedding"].shape == (1, 128)

    for command in ("summary", "history", "gc", "reference-scores"):
        looked = run(command, tmp_path)
        assert looked.returncode == 0, looked.stdout + looked.stderr


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", command, "--config", str(folder / "mine.toml")],
        cwd=PROJECT,
        env=os.environ | {"LOCAL_HOME": str(folder / "tfx")},
        capture_output=True,
        text=True,
    )
