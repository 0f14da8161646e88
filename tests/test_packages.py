"""Every package says what is in it, with an example that runs, and lists names that exist."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(
    ".".join(path.parent.relative_to(PROJECT).parts)
    for folder in ("modules", "components", "pipeline", "kubeflow")
    for path in (PROJECT / folder).rglob("__init__.py")
)
STUBS = [name for name in PACKAGES if PROJECT.joinpath(*name.split("."), "__init__.pyi").exists()]


def folder_of(package: str) -> Path:
    return PROJECT.joinpath(*package.split("."))


def listed(package: str) -> list[tuple[Path, str, str]]:
    """File, name in it and public name, of each name in the `.pyi` that is not a whole file."""
    folder = folder_of(package)
    return [
        (folder.joinpath(*node.module.split(".")).with_suffix(".py"), alias.name, str(name))
        for node in ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        for name in [alias.asname or alias.name]
    ]


def listed_files(package: str) -> set[str]:
    """What the `.pyi` hands on as a whole: `from . import file as file`."""
    stub = folder_of(package) / "__init__.pyi"
    return {
        alias.name
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and not node.module
        for alias in node.names
    }


def bound_in(body: list[ast.stmt]) -> set[str]:
    """Names that the top level of a file binds."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            names |= bound_in(node.body)
        else:
            names |= {
                part.id
                for part in ast.walk(node)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
    return names


def run_example(docstring: str, name: str) -> tuple[int, int, str]:
    """Runs the example of a docstring; how many lines ran, how many failed, and what it said."""
    test = doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    return tried, failed, "".join(said)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_shows_by_an_example_what_it_is_for(package: str) -> None:
    docstring = importlib.import_module(package).__doc__ or ""
    assert len(docstring.split(">>>")[0].split()) >= 5, "a sentence that says what is in it"
    tried, failed, said = run_example(docstring, package)
    assert tried, "no example"
    assert not failed, said


def test_a_wrong_example_is_noticed() -> None:
    assert run_example(">>> 1 + 1\n2\n", "right")[:2] == (1, 0)
    assert run_example(">>> 1 + 1\n3\n", "wrong")[:2] == (1, 1)
    assert run_example("No example.", "none")[:2] == (0, 0)


@pytest.mark.parametrize("package", STUBS)
def test_listed_names_exist(package: str) -> None:
    """Read from the files, and then as another package gets them."""
    assert listed(package) or listed_files(package)
    module = importlib.import_module(package)
    for name in listed_files(package):
        assert isinstance(getattr(module, name), ModuleType)
    for file, name, public in listed(package):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        assert name in bound_in(body), f"{file.name} has no {name}"
        assert not isinstance(getattr(module, public), ModuleType)


@pytest.mark.parametrize("package", STUBS)
def test_no_listed_name_is_that_of_a_file(package: str) -> None:
    """The module would take the place of the name as soon as it is imported."""
    files = {path.stem for path in folder_of(package).glob("*.py")}
    assert not files & {public for _, _, public in listed(package)}
