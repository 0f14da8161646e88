"""A hash of the user's own modules that training imports, for the key of the cache.

`pipeline.fingerprint` looks at this project; a loss or a miner of one's own lies elsewhere.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

from pipeline.fingerprint import PACKAGES, code_fingerprint, read_code

OWN_CODE_FINGERPRINT = "own_code_fingerprint"  # name in Trainer's custom_config


def own_code_fingerprint(modules: Collection[str]) -> str | None:
    """Hashes modules outside of this project.

    A module counts with its whole top-level package, or with its file if it is in none, and with
    all that these import from the folder that they lie in. Installed packages count alone: what
    they import are libraries.

    Args:
        modules: Names of modules, such as `mine.losses`.

    Returns:
        16 hexadecimal digits, the same on every machine for the same code; None without modules.

    Raises:
        ValueError: Python finds no such module.
    """
    if not modules:
        return None
    digest = hashlib.sha256()
    waiting, seen, inside = [*modules], set(), set()
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top in PACKAGES:
            inside.add(name)
        elif top not in seen:
            seen.add(top)
            root = _folder(top)
            for file in _files(root, top):
                if not _is_library(root):
                    waiting += [each for each in _imports(file) if _is_beside(root, each)]
    for top in sorted(seen):
        root = _folder(top)
        for file in _files(root, top):
            digest.update(f"{file.relative_to(root).as_posix()}\0{read_code(file)}\0".encode())
    if inside:
        digest.update(code_fingerprint(inside).encode())
    return digest.hexdigest()[:16]


def _folder(top: str) -> Path:
    """The folder on Python's path that holds a top-level module or package."""
    spec = importlib.util.find_spec(top)
    places = [*(spec.submodule_search_locations or [])] if spec else []
    place = places[0] if places else spec.origin if spec else None
    if place is None:
        raise ValueError(f"there is no module {top!r} on {sys.path}")
    return Path(place).resolve().parent


def _files(root: Path, top: str) -> list[Path]:
    package = root / top
    return sorted(package.rglob("*.py")) if package.is_dir() else [root / f"{top}.py"]


def _is_beside(root: Path, module: str) -> bool:
    top = module.partition(".")[0]
    return (root / f"{top}.py").is_file() or any((root / top).glob("*.py"))


def _is_library(root: Path) -> bool:
    return root in {Path(path).resolve() for path in sysconfig.get_paths().values()}


def _imports(file: Path) -> list[str]:
    """Modules that a file imports by their full names; relative ones are in its package."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found
