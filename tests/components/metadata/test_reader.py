"""The reader on every kind of database server."""

from __future__ import annotations

import time
import uuid

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import (
    MADE,
    READ,
    Lineage,
    Models,
    artifacts_by_type,
    executions_of_node,
    executions_of_runs,
    find_events,
    find_execution,
    find_running,
    has_run,
    mark_failed,
    plain_values,
    read_pipeline_runs,
    update_execution,
)
from pipeline.metadata import connect_store

DONE, RUNNING, FAILED = proto.Execution.COMPLETE, proto.Execution.RUNNING, proto.Execution.FAILED
HOUR = 3600.0


class Runs:
    """Writes the runs of one pipeline as TFX does."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self.store = store
        self.name = f"p{uuid.uuid4().hex[:8]}"  # the tests share the database

    def _context(self, kind: str, name: str) -> proto.Context:
        found = self.store.get_context_by_type_and_name(kind, name)
        if found:
            return found
        return proto.Context(
            type_id=self.store.put_context_type(proto.ContextType(name=kind)), name=name
        )

    def artifact(self, kind: str, **properties: int | str) -> proto.Artifact:
        type_id = self.store.put_artifact_type(proto.ArtifactType(name=kind))
        artifact = proto.Artifact(type_id=type_id, uri=f"/x/{kind}", state=proto.Artifact.LIVE)
        for name, value in properties.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(artifact.custom_properties[name], field, value)
        (number,) = self.store.put_artifacts([artifact])
        return self.store.get_artifacts_by_id([number])[0]

    def node(
        self,
        run: str,
        node: str,
        state: int = DONE,
        read: dict[str, list[proto.Artifact]] | None = None,
        made: dict[str, list[proto.Artifact]] | None = None,
    ) -> proto.Execution:
        type_id = self.store.put_execution_type(proto.ExecutionType(name=node))
        pairs = [
            (artifact, self._event(kind, key, position))
            for kind, artifacts in ((proto.Event.INPUT, read), (proto.Event.OUTPUT, made))
            for key, some in (artifacts or {}).items()
            for position, artifact in enumerate(some)
        ]
        names = {"pipeline": self.name, "pipeline_run": run, "node": f"{self.name}.{node}"}
        number, _, _ = self.store.put_execution(
            proto.Execution(type_id=type_id, last_known_state=state),
            pairs,
            [self._context(kind, name) for kind, name in names.items()],
        )
        return self.store.get_executions_by_id([number])[0]

    @staticmethod
    def _event(kind: int, key: str, position: int) -> proto.Event:
        steps = [proto.Event.Path.Step(key=key), proto.Event.Path.Step(index=position)]
        return proto.Event(type=kind, path=proto.Event.Path(steps=steps))


@pytest.fixture
def runs(metadata_url) -> Runs:
    return Runs(connect_store(metadata_url))


def test_runs_come_in_their_order_with_what_each_node_read_and_made(runs) -> None:
    assert not has_run(runs.store, runs.name)
    assert read_pipeline_runs(runs.store, runs.name) == []
    spans = [runs.artifact("Examples", span=span) for span in (3, 1, 2)]
    model = runs.artifact("Model")
    first, second = f"{runs.name}-b", f"{runs.name}-a"
    runs.node(first, "ExampleGen", made={"examples": spans[:1]})
    runs.node(first, "Trainer", FAILED, read={"examples": spans})
    runs.node(second, "ExampleGen", made={"examples": spans[1:2]})
    runs.node(second, "Trainer", read={"examples": spans}, made={"model": [model]})
    other = Runs(runs.store)
    other.node(first, "Trainer")

    assert has_run(runs.store, runs.name)
    found = read_pipeline_runs(runs.store, runs.name)
    assert [run.run_id for run in found] == [first, second]
    assert [list(run.nodes) for run in found] == 2 * [["ExampleGen", "Trainer"]]
    trainer = found[1].nodes["Trainer"]
    # In the order of the input, not of the ids.
    assert [values["span"] for values in trainer.read["examples"]] == [3, 1, 2]
    assert trainer.made == {"model": [{"uri": "/x/Model"}]}
    assert found[1].first("model") == {"uri": "/x/Model"}
    assert found[0].first("model") == {}
    states = [e.last_known_state for e in executions_of_node(runs.store, runs.name, "Trainer")]
    assert states == [FAILED, DONE]
    assert [len(e) for e in executions_of_runs(runs.store, runs.name).values()] == [2, 2]
    by_type = artifacts_by_type(runs.store, runs.name)
    assert {kind: len(some) for kind, some in by_type.items()} == {"Examples": 3, "Model": 1}


def test_events_by_direction_and_key(runs) -> None:
    examples, model = runs.artifact("Examples"), runs.artifact("Model")
    execution = runs.node(
        runs.name, "Trainer", read={"examples": [examples]}, made={"model": [model]}
    )
    of_execution = {"executions": [execution.id]}
    assert len(find_events(runs.store, **of_execution)) == 2
    (made,) = find_events(runs.store, MADE, **of_execution)
    assert made.artifact_id == model.id
    assert find_events(runs.store, READ, "model", **of_execution) == []
    (read,) = find_events(runs.store, READ, "examples", artifacts=[examples.id])
    assert read.execution_id == execution.id
    assert find_events(runs.store) == []
    lineage = Lineage(runs.store)
    assert lineage.inputs_of([model.id]) == {examples.id}
    assert lineage.outputs_of([examples.id], "examples", "model") == {model.id}
    assert lineage.maker(model.id).id == execution.id
    with pytest.raises(ValueError, match="No execution made"):
        lineage.maker(examples.id)


def test_an_execution_is_updated_and_marked(runs) -> None:
    execution = runs.node(runs.name, "Trainer", RUNNING)
    update_execution(runs.store, execution, span=7)
    found = find_execution(runs.store, runs.name, runs.name, "Trainer")
    assert (plain_values(found), found.last_known_state) == ({"span": 7}, RUNNING)
    mark_failed(runs.store, found, r"no \ room")
    found = find_execution(runs.store, runs.name, runs.name, "Trainer")
    assert plain_values(found) == {"error": r"no \ room", "span": 7}
    assert found.last_known_state == FAILED


def test_models_their_blessings_and_pushes(runs) -> None:
    first, second, third = (runs.artifact("Model") for _ in range(3))
    for number, (model, blessed) in enumerate([(first, 1), (second, 1), (third, 0)]):
        blessing = runs.artifact("ModelBlessing", current_model_id=model.id, blessed=blessed)
        pushed = runs.artifact(
            "PushedModel", pushed=blessed, **({"pushed_version": str(number)} if blessed else {})
        )
        run = f"{runs.name}-{number}"
        runs.node(run, "Trainer", made={"model": [model]})
        inputs = {"model": [model]}
        runs.node(run, "Evaluator", read=inputs, made={"blessing": [blessing]})
        runs.node(run, "Pusher", read=inputs, made={"pushed_model": [pushed]})
    models = Models(runs.store, runs.name)
    assert models.blessed() == [first.id, second.id]
    assert models.versions() == {0: first.id, 1: second.id}
    assert (models.of_version(1), models.of_version(2)) == (second.id, None)
    assert len(models.blessings_of(third.id)) == 1
    assert models.by_id(third.id).id == third.id
    assert models.by_id(None) is None


def test_what_runs_and_what_was_killed_long_ago(runs) -> None:
    def running(patience: float) -> list[tuple[str, str]]:
        return [(run, node) for run, node, _ in find_running(runs.store, runs.name, patience)]

    first, second = f"{runs.name}-1", f"{runs.name}-2"
    runs.node(first, "ExampleGen")
    runs.node(first, "Trainer", RUNNING)
    assert running(HOUR) == [(first, "Trainer")]
    runs.node(second, "ExampleGen", RUNNING)
    assert running(HOUR) == [(first, "Trainer"), (second, "ExampleGen")]
    # Two runs at once.
    runs.node(second, "Trainer")
    assert running(HOUR) == [(first, "Trainer"), (second, "ExampleGen")]
    # Later the first Trainer was killed: it would have ended by now, and the next one has started.
    time.sleep(0.05)
    assert running(0.0) == [(second, "ExampleGen")]
