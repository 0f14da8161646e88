"""What a run that trains nothing has become, by its nodes."""

from __future__ import annotations

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import NodeExecution, PipelineRun
from pipeline.metadata.runs import _state

DONE, CACHED, RUNNING, FAILED = (
    getattr(proto.Execution, name) for name in ("COMPLETE", "CACHED", "RUNNING", "FAILED")
)


def run_of(**states: int) -> PipelineRun:
    made = {"TrainingDecision": {"decision": [{"train": 0}]}}
    nodes = {
        node: NodeExecution(
            node, proto.Execution(last_known_state=state), {}, made.get(node, {})
        )
        for node, state in states.items()
    }  # fmt: skip
    return PipelineRun("1", nodes)


@pytest.mark.parametrize(
    ("update", "goes_on", "expected"),
    [
        ({}, False, ("skipped", None)),  # without an index, or of an earlier version
        (
            {"ServedIndexResolver": DONE, "IndexUpdate": DONE, "UpdatePusher": DONE},
            False,
            ("skipped", None),
        ),
        ({"ServedIndexResolver": DONE}, True, ("running", "ServedIndexResolver")),
        ({"ServedIndexResolver": DONE}, False, ("killed", "ServedIndexResolver")),
        ({"ServedIndexResolver": DONE, "IndexUpdate": RUNNING}, False, ("killed", "IndexUpdate")),
        ({"ServedIndexResolver": DONE, "IndexUpdate": FAILED}, False, ("failed", "IndexUpdate")),
    ],
)
def test_a_skip_ends_with_the_push_of_its_index(update, goes_on, expected) -> None:
    run = run_of(ExampleGen=DONE, TrainingDecision=DONE, **update)
    assert _state(run, goes_on=goes_on) == expected


def test_what_is_new_though_the_decision_is_cached() -> None:
    """As when a catalogue has changed and the data have not."""
    before = {"ExampleGen": CACHED, "TrainingDecision": CACHED, "ServedIndexResolver": DONE}
    made = run_of(**before, IndexUpdate=DONE, UpdatePusher=DONE)
    assert _state(made, goes_on=False) == ("skipped", None)
    cached = run_of(**before, IndexUpdate=CACHED, UpdatePusher=CACHED)
    assert _state(cached, goes_on=False) == ("nothing new", None)
