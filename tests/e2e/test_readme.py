"""What the README tells people to type."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from tfx.tools.cli.cli_main import cli_group

from pipeline.__main__ import main
from pipeline.config.paths import PROJECT
from tests.real_data import digits

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.strip()
    ]


def parse(group: click.Group, arguments: list[str]) -> None:
    """Lets click parse a command line without running it; a wrong option raises."""
    context = group.make_context("command", list(arguments))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command is not None, name
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_exists_with_these_options(command: list[str]) -> None:
    program, *arguments = command
    if program == "make":
        targets = [argument for argument in arguments if "=" not in argument]
        makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    elif program == ".venv/bin/python":
        assert arguments[:2] == ["-m", "pipeline"]
        parse(main, arguments[2:])
    elif program == ".venv/bin/tfx":
        parse(cli_group, arguments)
    elif program == ".venv/bin/tensorboard":
        assert arguments[0] == "--logdir"
    else:
        assert program == "export"
        assert arguments[0].startswith("TRIPLET_CONFIG=")


@pytest.mark.slow
def test_your_own_images_as_the_readme_says(tmp_path: Path) -> None:
    for image, label, example_id in digits(60):
        path = tmp_path / "photos" / label.decode() / (example_id.decode()[-4:] + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    (text,) = blocks("toml")
    # The README's example, on these photos, in this folder, and shorter.
    text = text.replace('"photos"', f'"{tmp_path}/photos"').replace("steps = 600", "steps = 20")
    text = text.replace('name = "mine"', f'name = "mine"\ndirectory = "{tmp_path}"')
    (tmp_path / "mine.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--config", str(tmp_path / "mine.toml")],
        cwd=PROJECT,
        env=os.environ | {"LOCAL_HOME": str(tmp_path / "tfx")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "$ tfx run create --engine local --pipeline_name mine" in done.stdout
    assert "precision@1" in done.stdout
    (version,) = (tmp_path / "mine" / "serving").glob("[0-9]*")
    assert f"Pushed to {version}" in done.stdout
    assert done.stderr == ""

    (snippet,) = blocks("python")
    for written, here in {".work/mnist-sample/serving/VERSION": version, "one.png": path}.items():
        assert written in snippet
        snippet = snippet.replace(written, str(here))
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["embedding"].shape == (1, 128)
