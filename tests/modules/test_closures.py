"""What each module that TFX loads brings along: an edit elsewhere must not change its cache key."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LOADED = """
import sys
import {module}
ours = ("modules", "components", "pipeline")
print(*(name for name in sys.modules if name.split(".")[0] in ours))
"""
SETTINGS = {f"modules.settings.{name}" for name in ("evaluation", "validation", "triplets")}
EVALUATION = {
    *(
        f"modules.retrieval.{name}"
        for name in (
            "clustering",
            "extractors",
            "metrics",
            "order",
            "pair_counts",
            "sets",
            "transforms",
            "verification",
        )
    ),
    "modules.gate.eval_config",
    "modules.gate.result",
}


def loaded(module: str) -> set[str]:
    """The files of this project that a fresh process imports with a module."""
    process = subprocess.run(
        [sys.executable, "-c", _LOADED.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("modules.trainer", EVALUATION | SETTINGS | {"modules.evaluator"}),
        (
            "modules.evaluator",
            SETTINGS | {"modules.trainer", "modules.training", "modules.losses", "modules.models"},
        ),
        (
            "modules.preprocessing",
            EVALUATION | SETTINGS | {"modules.retrieval", "modules.training", "modules.models"},
        ),
    ],
)
def test_a_module_brings_along_only_what_it_runs(module, without) -> None:
    found = loaded(module)
    assert not found & without
    assert not {name for name in found if name.startswith(("components", "pipeline"))}
