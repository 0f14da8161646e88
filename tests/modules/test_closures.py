"""What each module that TFX loads brings along: an edit elsewhere must not change its cache key."""

from __future__ import annotations

import pytest

from pipeline.fingerprint import import_closure

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


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("modules.trainer", EVALUATION | SETTINGS | {"modules.evaluator"}),
        (
            "components.triplet_gen.executor",
            EVALUATION | {"modules.retrieval", "modules.training", "modules.losses"},
        ),
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
    found = import_closure([module])
    assert not found & without
    assert not {name for name in found if name.startswith(("pipeline", "kubeflow"))}
    if module.startswith("modules"):
        assert not {name for name in found if name.startswith("components")}
