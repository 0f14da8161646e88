"""Which model judges the labels, from a lineage in a real metadata store."""

from __future__ import annotations

from tfx.types import standard_artifacts

from components.resolvers import UnseenModelStrategy
from tests.components.resolvers.test_previous_model import Runs


def resolve(runs: Runs, *examples: int) -> int | None:
    current = [standard_artifacts.Examples() for _ in examples]
    for artifact, number in zip(current, examples, strict=True):
        artifact.id = number
    resolved = UnseenModelStrategy().resolve_artifacts(
        runs.store, {"model": runs.models, "model_blessing": runs.blessings, "examples": current}
    )
    assert resolved["examples"] == current
    assert len(resolved["model"]) == len(resolved["model_blessing"])
    return next((artifact.id for artifact in resolved["model"]), None)


def test_further_runs_on_the_same_examples_take_the_same_model() -> None:
    runs = Runs()
    old, new = runs.artifact("Examples"), runs.artifact("Examples")
    assert resolve(runs, old) is None
    first = runs.train([old], None)
    assert resolve(runs, old) is None  # as in the run before: it is cached
    assert resolve(runs, new) == first
    second = runs.train([new], None)
    assert second > first
    assert resolve(runs, new) == first
    third = runs.train([new], None)  # with other settings
    assert third > second
    assert resolve(runs, new) == first
    assert resolve(runs, old) == third


def test_a_window_is_new_to_a_model_that_lacks_one_of_its_spans() -> None:
    runs = Runs()
    spans = [runs.artifact("Examples") for _ in range(3)]
    first = runs.train(spans[:2], None)
    assert resolve(runs, *spans[1:]) == first
    runs.train(spans[1:], None)
    assert resolve(runs, *spans[1:]) == first
    runs.train(spans, None)
    assert resolve(runs, *spans[1:]) == first


def test_a_model_that_is_not_blessed_judges_nothing() -> None:
    runs = Runs()
    old, new = runs.artifact("Examples"), runs.artifact("Examples")
    runs.train([old], None, blessed=False)
    assert resolve(runs, new) is None
