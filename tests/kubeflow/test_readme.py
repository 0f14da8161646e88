"""What kubeflow/README.md tells people to type."""

from __future__ import annotations

import re
import shlex
import tomllib

import click
import pytest

from kubeflow.__main__ import main
from pipeline.commands import main as pipeline_main
from pipeline.config import parse_config
from pipeline.config.kubeflow import KubeflowSettings
from pipeline.config.paths import PROJECT

README = (PROJECT / "kubeflow" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


PROGRAMS = {"kubeflow": main, "pipeline": pipeline_main}
COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks("sh")
    for line in block.splitlines()
    if line.strip()
]


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c[0] == ".venv/bin/python"], ids=" ".join
)
def test_commands_have_these_options(command: list[str], tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KFP_HOST", "https://kubeflow.example.com")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    assert command[1] == "-m"
    context = PROGRAMS[command[2]].make_context(command[2], command[3:])
    while isinstance(context.command, click.Group):
        name, found, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = found.make_context(name, rest, parent=context)


def test_files_that_are_named_exist() -> None:
    named = [word for command in COMMANDS for word in command if word.startswith("kubeflow/")]
    assert named
    for word in named:
        if not word.endswith("credentials.env"):
            assert (PROJECT / word).exists(), word


@pytest.mark.parametrize("text", blocks("toml"))
def test_tables_are_valid(text: str) -> None:
    tables = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}} | tomllib.loads(text)
    assert parse_config(tables, "the README").kubeflow != KubeflowSettings()
