"""The table of promises in docs/operations.md: every line names a proof that is there and runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pipeline.config import PROJECT

TABLE = re.compile(r"^\| promise \| proof \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)


def promises() -> list[tuple[str, str]]:
    found = TABLE.search((PROJECT / "docs" / "operations.md").read_text())
    assert found is not None
    rows = [line.strip("|\n").split("|") for line in found[1].splitlines()]
    return [(promise.strip(), proof.strip()) for promise, proof in rows]


def names_of_tests(path: Path) -> set[str]:
    """The tests of a file, or of a folder, that nothing skips in any case."""
    files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
    return {
        node.name
        for file in files
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any("mark.skip" in ast.unparse(one) for one in node.decorator_list)
    }


@pytest.mark.parametrize(("promise", "proof"), promises())
def test_each_promise_has_its_proof(promise: str, proof: str) -> None:
    places = re.findall(r"`([^`]+)`", proof)
    assert places, promise
    assert re.sub(r"`[^`]+`", "", proof).strip(", ") == ""
    for place in places:
        if place.startswith("make "):
            targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
            assert place.removeprefix("make ") in targets
        else:
            assert names_of_tests(PROJECT / place), f"{place} has no test"


def test_every_file_of_faults_proves_something() -> None:
    """A test of faults that no promise names is one that nobody will miss."""
    proofs = " ".join(proof for _, proof in promises())
    for file in (PROJECT / "tests" / "faults").glob("test_*.py"):
        name = "make soak" if file.name == "test_soak.py" else f"tests/faults/{file.name}"
        assert name in proofs, f"no promise names {name}"
