"""What kubeflow/README.md tells people to type; tests/test_docs.py checks options and paths."""

from __future__ import annotations

import tomllib

import pytest

from pipeline.config import KubeflowSettings, parse_config
from tests.documents import PROJECT, block_commands, blocks

README = (PROJECT / "kubeflow" / "README.md").read_text(encoding="utf-8")
COMMANDS = block_commands(README)


def test_the_steps_to_a_scheduled_pipeline_are_there() -> None:
    ours = [command[3:] for command in COMMANDS if command[1:3] == ["-m", "kubeflow"]]
    for steps in (["compile"], ["deploy"], ["run"], ["schedule", "create"]):
        assert any(command[: len(steps)] == steps for command in ours), steps


def test_manifests_are_applied_that_exist() -> None:
    pages = [README, *(page.read_text(encoding="utf-8") for page in PROJECT.glob("docs/*.md"))]
    every = [command for page in pages for command in block_commands(page)]
    commands = [command for command in every if command[:2] == ["kubectl", "apply"]]
    assert all(command[2:4] == ["-n", "kubeflow"] for command in commands)
    applied = [command[-1] for command in commands]
    there = {path.parent for path in PROJECT.glob("kubeflow/manifests/*/kustomization.yaml")}
    assert {PROJECT / folder for folder in applied} == there


@pytest.mark.parametrize("text", blocks(README, "toml"))
def test_tables_are_valid(text: str) -> None:
    tables = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}} | tomllib.loads(text)
    assert parse_config(tables, "the README").kubeflow != KubeflowSettings()
