"""The documents as tests read them: code blocks, commands, and whether click takes a command."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from unittest import mock

import click

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *sorted(PROJECT.glob("*.md")),
    *sorted(PROJECT.glob("docs/*.md")),
    PROJECT / "kubeflow" / "README.md",
]
# Programs of the system or the cluster: only the files of this project that they take are checked.
SYSTEM = {
    "cp", "crontab", "docker", "git", "journalctl", "kubectl", "loginctl", "pg_dump", "systemctl",
}  # fmt: skip


def name_of(document: Path) -> str:
    return str(document.relative_to(PROJECT))


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language, those in lists without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def block_commands(text: str) -> list[list[str]]:
    """The command lines of all `sh` blocks, as words."""
    return [
        shlex.split(line, comments=True)
        for block in blocks(text, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]


def inline_commands(text: str) -> list[list[str]]:
    """Commands in running text that are complete: those with … are not."""
    found = re.findall(r"`((?:make|python -m|\.venv/bin/\S+) [^`]*)`", without_blocks(text))
    commands = [shlex.split(line.replace("\n", " ")) for line in found if "…" not in line]
    return [[".venv/bin/python", *c[1:]] if c[0] == "python" else c for c in commands]


def parse(group: click.Group, arguments: list[str]) -> None:
    """Lets click parse a command line without running it; a wrong option raises."""
    context = group.make_context("command", list(arguments))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command is not None, name
        context = command.make_context(name, rest, parent=context)


def check_command(words: list[str], folder: Path) -> None:
    """Fails unless a command exists and takes these options.

    Args:
        words: The command line.
        folder: An empty one; stands for the reader's folder, with the files that the command names.
    """
    program, *arguments = words
    if program == "make":
        targets = [word for word in arguments if "=" not in word]
        makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
        assert targets, "no target"
        for target in targets:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
        for variable in (word.partition("=")[0] for word in arguments if "=" in word):
            assert re.search(rf"\$\({variable}\)", makefile), f"{variable} is not used"
    elif program == "export":
        for name in (word.partition("=")[0] for word in arguments):
            assert _read_by_the_code(name), f"nothing reads {name}"
    elif program.startswith(".venv/bin/"):
        installed = Path(sys.executable).parent / Path(program).name
        assert installed.exists(), f"{installed.name} is not installed"
        _check_program(installed.name, arguments, folder)
    else:
        assert program in SYSTEM, f"{program} is neither of this project nor in SYSTEM"
        for word in arguments:
            if re.match(r"(kubeflow|pipeline|docs)/", word) and not word.endswith(".env"):
                assert (PROJECT / word).exists(), word


def _check_program(name: str, arguments: list[str], folder: Path) -> None:
    if name == "tfx":
        from tfx.tools.cli.cli_main import cli_group

        parse(cli_group, arguments)
    elif name == "tensorboard":
        assert arguments[0] == "--logdir"
    elif name == "python":
        assert arguments[0] == "-m"
        _check_module(arguments[1], arguments[2:], folder)


def _check_module(module: str, arguments: list[str], folder: Path) -> None:
    if module in ("pipeline", "kubeflow"):
        from kubeflow.__main__ import main as of_kubeflow
        from pipeline.__main__ import main as of_pipeline

        for word in arguments:
            if word.endswith((".toml", ".yaml")):
                (folder / word).touch()
            elif word == "mnist-files":
                (folder / word).mkdir(exist_ok=True)
        here = Path.cwd()
        os.chdir(folder)
        try:
            with mock.patch.dict(os.environ, KFP_HOST="https://kubeflow.example.com"):
                parse(of_pipeline if module == "pipeline" else of_kubeflow, arguments)
        except click.exceptions.Exit as help_shown:
            if help_shown.exit_code:
                raise
        finally:
            os.chdir(here)
    elif module.split(".")[0] in ("pipeline", "tests"):
        file = PROJECT.joinpath(*module.split(".")).with_suffix(".py")
        text = file.read_text(encoding="utf-8")
        assert '__name__ == "__main__"' in text
        for word in arguments:
            assert not word.startswith("--") or f'"{word}"' in text or word == "--idx", word
    else:
        assert module == "pytest", module


def _read_by_the_code(variable: str) -> bool:
    files = [*PROJECT.glob("pipeline/**/*.py"), *PROJECT.glob("kubeflow/**/*.py")]
    return any(f'"{variable}"' in file.read_text(encoding="utf-8") for file in files)
