"""A hash of the code that a node runs, for the key of the cache.

TFX takes a node's result from the cache when its inputs and its execution parameters are the same
as before. The code of the node is not among them. So every node with code of this project carries
the hash of that code as the execution parameter `code_fingerprint`. A change of the code is then a
change of the parameters, and exactly the nodes that run the code are run again.

The code of a node is its entry and all modules of this project that the entry imports, directly or
through others. Nothing is imported to find that out: the sources are read. Comments, docstrings and
the layout of the source do not count.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pipeline.config import PROJECT

PACKAGES = ("modules", "components", "pipeline", "kubeflow")
_CHUNK = 1 << 22  # bytes
CODE_FINGERPRINT = "code_fingerprint"  # name of the execution parameter


def code_fingerprint(entries: Iterable[str]) -> str:
    """Hashes modules with all that they import from this project.

    Args:
        entries: Names of modules of this project, such as `modules.trainer`.

    Returns:
        16 hexadecimal digits: the same on every machine, for the same code.

    Raises:
        ValueError: There is no such module.
    """
    digest = hashlib.sha256()
    for module in sorted(import_closure(entries)):
        path = _source(module)
        assert path is not None
        digest.update(f"{module}\0{read_code(path)}\0".encode())
    return digest.hexdigest()[:16]


def import_closure(entries: Iterable[str]) -> set[str]:
    """Finds the modules of this project that others import, directly or through others.

    Imports inside of functions count, imports for type checkers (`if TYPE_CHECKING`) do not. A name
    that a package hands on from one of its files counts as that file, not as the whole package.

    Args:
        entries: Names of modules of this project.

    Returns:
        Names of modules, with the entries; packages are those whose `__init__.py` is run.

    Raises:
        ValueError: There is no such module.
    """
    found: set[str] = set()
    waiting = list(entries)
    for module in waiting:
        if not (_in_project(module) and _source(module)):
            raise ValueError(f"There is no module {module!r} in this project.")
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        path = _source(module)
        assert path is not None
        # Python runs the packages around a module first.
        waiting += [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
        waiting += _imports(path)
    return found


def file_fingerprint(path: str) -> str | None:
    """Hashes a file that a node reads by its path; None if it is not there (yet).

    Args:
        path: Local, or a URI that TFX's file layer reads.

    Returns:
        16 hexadecimal digits.
    """
    if "://" in path:
        from tfx.dsl.io import fileio  # loads TensorFlow

        exists, open_file = fileio.exists, fileio.open
    else:
        exists, open_file = os.path.isfile, open
    if not exists(path):
        return None
    digest = hashlib.sha256()
    with open_file(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def folder_fingerprint(path: str | None) -> str | None:
    """Hashes the files of a folder that a node reads; None if it has none that can be listed.

    Args:
        path: Local, or a URI that TFX's file layer reads. What is downloaded has no files here: its
            handle stands for it.

    Returns:
        16 hexadecimal digits.
    """
    if path is None or path.startswith(("hf://", "kaggle://")):
        return None
    if "://" in path:
        from tfx.dsl.io import fileio  # loads TensorFlow

        files = [f"{root}/{name}" for root, _, names in fileio.walk(path) for name in sorted(names)]
    else:
        files = [str(file) for file in Path(path).rglob("*") if file.is_file()]
    hashes = [(file.removeprefix(path), file_fingerprint(file)) for file in sorted(files)]
    return hashlib.sha256(repr(hashes).encode()).hexdigest()[:16] if hashes else None


def _in_project(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


def _source(module: str) -> Path | None:
    """The file of a module or package; None if there is none."""
    path = PROJECT.joinpath(*module.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def read_code(path: Path) -> str:
    """The source without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The modules of this project that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(_walk(ast.iter_child_nodes(tree)))


def _walk(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _walk(node.orelse)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _in_project(alias.name))
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level and _in_project(node.module):
                for alias in node.names:
                    yield _place_of(node.module, alias.name)
        else:
            yield from _walk(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test).removeprefix("typing.") == "TYPE_CHECKING"


def _place_of(module: str, name: str) -> str:
    """The module that `from MODULE import NAME` gets the name from."""
    if _source(f"{module}.{name}"):
        return f"{module}.{name}"
    file = _handed_on(PROJECT.joinpath(*module.split("."), "__init__.pyi")).get(name)
    return f"{module}.{file}" if file else module


@cache
def _handed_on(stub: Path) -> dict[str, str]:
    """File of a package by name that the package hands on, as its stub says."""
    if not stub.is_file():
        return {}
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
