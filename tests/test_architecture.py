"""The walls of the house, as docs/architecture.md draws them: imports, places, length of files.

Everything is read from the syntax trees; nothing of the project is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# In the order of the arrows: each folder may import those before it, and itself.
FOLDERS = ("modules", "components", "pipeline", "kubeflow")
MODULE_FILES = {"contract.py", "preprocessing.py", "trainer.py", "evaluator.py"}
MOST_LINES = 400


class Import(NamedTuple):
    """`from module import name` at a line of a file; `import module` has no name."""

    file: Path
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{self.file.relative_to(PROJECT)}:{self.line}: {what}"


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py"))


def imports_in(file: Path, text: str) -> Iterator[Import]:
    """All imports, also those inside functions and under TYPE_CHECKING; relative ones resolved."""
    package = file.relative_to(PROJECT).parent.parts
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = package[: len(package) - node.level + 1]
                module = ".".join((*base, module) if module else base)
            for alias in node.names:
                yield Import(file, node.lineno, module, alias.name)


@cache
def project_imports() -> tuple[Import, ...]:
    return tuple(
        one
        for file in python_files(*FOLDERS)
        for one in imports_in(file, file.read_text(encoding="utf-8"))
        if one.module.split(".")[0] in FOLDERS
    )


def room(parts: tuple[str, ...]) -> Path | None:
    """The sub-package that a dotted name is in, such as modules/losses; None at the top level."""
    folder = PROJECT.joinpath(*parts[:2])
    return folder if len(parts) > 1 and (folder / "__init__.py").exists() else None


@cache
def public_names(package: Path) -> frozenset[str]:
    """What a package's `.pyi` lists; without one, what its `__init__.py` binds."""
    stub = package / "__init__.pyi"
    source = stub if stub.exists() else package / "__init__.py"
    names = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return frozenset(names)


def points_up(one: Import) -> bool:
    here = one.file.relative_to(PROJECT).parts[0]
    return FOLDERS.index(one.module.split(".")[0]) > FOLDERS.index(here)


def passes_the_door(one: Import) -> bool:
    """Whether an import from another package takes only what that package lists."""
    parts = tuple(one.module.split("."))
    package = room(parts)
    if package is None and one.name:  # `from modules import losses`
        package = room((*parts, one.name))
        return package is None or package in one.file.parents
    if package is None or package in one.file.parents:
        return True
    return len(parts) == 2 and one.name is not None and one.name in public_names(package)


def test_the_imports_of_the_project_are_found() -> None:
    """Otherwise the tests below would pass on nothing."""
    assert len(project_imports()) > 200
    assert {one.module.split(".")[0] for one in project_imports()} == set(FOLDERS)


def test_no_arrow_points_back_up() -> None:
    assert not [str(one) for one in project_imports() if points_up(one)]


def test_other_packages_are_entered_by_the_door() -> None:
    """`from modules.losses import TripletLoss`, not `from modules.losses.triplet_loss import …`."""
    assert not [str(one) for one in project_imports() if not passes_the_door(one)]


@pytest.mark.parametrize(
    ("file", "text", "up", "door"),
    [
        ("modules/trainer.py", "from components.spans import SpanPattern", True, True),
        ("modules/trainer.py", "def f():\n    import pipeline.config", True, False),
        ("components/pusher/push.py", "from modules.losses import TripletLoss", False, True),
        ("components/pusher/push.py", "from modules.losses.miners import hard", False, False),
        ("components/pusher/push.py", "from modules.losses import miners", False, False),
        ("components/pusher/push.py", "from modules import losses", False, False),
        ("components/pusher/push.py", "from modules.contract import IMAGE", False, True),
        ("modules/losses/new.py", "from .miners import hard", False, True),
        ("modules/losses/new.py", "from modules.losses.miners import hard", False, True),
        ("modules/losses/new.py", "from ..batches.reading import LabelledImages", False, False),
        ("kubeflow/node.py", "from pipeline.config import Config", False, True),
        ("kubeflow/node.py", "import kubeflow.api", False, True),
    ],
)
def test_the_rules_see_what_they_should(file: str, text: str, up: bool, door: bool) -> None:
    (one,) = imports_in(PROJECT / file, text)
    assert points_up(one) == up
    assert passes_the_door(one) == door


def test_only_the_contract_and_what_tfx_loads_lies_on_top_of_modules() -> None:
    """TFX packs the files beside a module_file into a wheel; what must not be packed lies below."""
    files = {path.name for path in (PROJECT / "modules").glob("*.py*")}
    assert files - {"__init__.py", "__init__.pyi"} == MODULE_FILES


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in python_files(*FOLDERS)}
    assert not [str(f.relative_to(PROJECT)) for f in folders if not (f / "__init__.py").exists()]


def test_no_file_is_longer_than_a_reader_keeps_in_mind() -> None:
    texts = [
        *python_files(*FOLDERS, "tests", ".ci"),
        *PROJECT.glob("*.md"),
        *PROJECT.glob("docs/*.md"),
        *PROJECT.glob("kubeflow/**/*.md"),
        *PROJECT.glob("pipeline/config/ready/*.toml"),
        PROJECT / "pyproject.toml",
        PROJECT / "Makefile",
    ]
    # The page of all keys is a reference that a program writes, so it may be longer.
    texts.remove(PROJECT / "docs" / "configuration.md")
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in texts}
    assert not {str(p.relative_to(PROJECT)): n for p, n in lines.items() if n > MOST_LINES}
