"""Who reads and writes ML Metadata: two packages, so that a change of its use has one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ml_metadata as mlmd

from pipeline.config import PROJECT

READERS = ("components/metadata/", "pipeline/metadata/")
METHODS = {name for name in dir(mlmd.MetadataStore) if name.startswith(("get_", "put_"))}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("modules", "components", "pipeline", "kubeflow"):
        for path in (PROJECT / package).rglob("*.py"):
            yield path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text())


def calls(tree: ast.Module) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & METHODS


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def test_only_two_packages_call_the_store() -> None:
    found = {path: calls(tree) for path, tree in sources()}
    assert {path for path, used in found.items() if used and not path.startswith(READERS)} == set()
    assert sum(map(len, found.values())) > 10  # else this test looks in the wrong place


def test_the_reader_needs_no_tfx() -> None:
    used = {
        name
        for path, tree in sources()
        if path.startswith("components/metadata/")
        for name in imports(tree)
    }
    assert "ml_metadata" in used
    assert not used & {"tfx", "tensorflow", "apache_beam", "pipeline", "kubeflow"}


def test_files_are_short() -> None:
    for package in READERS:
        for path in Path(PROJECT, package).glob("*.py"):
            assert len(path.read_text().splitlines()) < 300, path
