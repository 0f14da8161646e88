"""What the README promises: your own images, by the commands and files that it shows.

That every command in it exists with its options is checked by tests/test_docs.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.documents import PROJECT, block_commands, blocks
from tests.forking import quick_python
from tests.real_data import digits

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_the_commands_that_people_need_first_are_there() -> None:
    commands = [" ".join(command) for command in block_commands(README)]
    for command in (
        "make run",
        "make test",
        "make run CONFIG=mine.toml",
        ".venv/bin/python -m pipeline search --sample 5 --preview neighbours.png",
        ".venv/bin/python -m pipeline serve",
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

    for name in ("summary", "history", "gc", "reference-scores"):
        looked = run(name, tmp_path, python=quick_python())
        assert looked.returncode == 0, looked.stdout + looked.stderr

    picture = tmp_path / "neighbours.png"
    looked = run("search", tmp_path, "--sample", "5", "--preview", str(picture))
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert looked.stderr == ""
    assert f"version {version.name}, exact" in looked.stdout
    assert Image.open(picture).size[1] > 5 * 96
    assert_page_finds(path, tmp_path, version.name)


def assert_page_finds(photo: Path, folder: Path, version: str) -> None:
    """The README's second command: the page is there, and finds a photo of the gallery itself."""
    process = subprocess.Popen(
        [*command(quick_python(), "serve", folder), "--port", "0"],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        assert "Choose an image" in httpx.get(url).text
        answer = httpx.post(f"{url}/search?k=1&pictures=true", content=photo.read_bytes()).json()
    finally:
        process.terminate()
    assert process.wait() == 0
    (nearest,) = answer["results"][0]["neighbours"]
    assert answer["version"] == version
    assert nearest["id"] == str(photo.relative_to(folder / "photos"))
    assert nearest["label"] == photo.parent.name
    assert nearest["distance"] < 1e-4
    assert nearest["picture"].startswith("data:image/jpeg;base64,")


def command(python: str, name: str, folder: Path) -> list[str]:
    return [python, "-m", "pipeline", name, "--config", str(folder / "mine.toml")]


def run(
    name: str, folder: Path, *arguments: str, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(python, name, folder), *arguments],
        cwd=PROJECT,
        env=os.environ | {"LOCAL_HOME": str(folder / "tfx")},
        capture_output=True,
        text=True,
    )
