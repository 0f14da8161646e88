"""The group of commands: its table of help texts, and what it does not load to list them."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys

import click
import pytest

import pipeline.commands
from pipeline.commands import main
from pipeline.commands.group import COMMANDS
from pipeline.config import PROJECT

HEAVY = ["tensorflow", "tfx", "apache_beam", "ml_metadata", "pandas"]


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert isinstance(found, click.Command), name
    return found


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_listed_command_loads_and_has_the_help_of_the_table(name: str) -> None:
    found = command(name)
    assert found.name == name
    first_sentence = " ".join((found.help or "").split("\n\n")[0].split())
    assert first_sentence == COMMANDS[name].help


def test_the_table_names_every_file_of_commands() -> None:
    files = {path.stem for path in (PROJECT / "pipeline" / "commands").glob("*.py")}
    named = {place.module.rpartition(".")[2] for place in COMMANDS.values()}
    assert named >= files - {"__init__", "group", "options", "printing"}


def test_an_unknown_command_is_none() -> None:
    assert main.get_command(click.Context(main), "frobnicate") is None


def test_the_list_of_commands_loads_no_library_that_takes_seconds() -> None:
    code = (
        "import json, sys\n"
        "from click.testing import CliRunner\n"
        "import pipeline.__main__\n"
        "from pipeline.commands import main\n"
        "output = CliRunner().invoke(main, ['--help']).output\n"
        f"print(json.dumps([output, sorted(set({HEAVY}) & set(sys.modules))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    output, loaded = json.loads(done.stdout)
    assert loaded == []
    for name, place in COMMANDS.items():
        assert name in output
        assert place.help.split()[0] in output


def test_the_example_of_the_package() -> None:
    assert doctest.testmod(pipeline.commands).failed == 0
