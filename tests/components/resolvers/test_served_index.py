"""Which model an index is updated for, with which report, and which index it continues."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.types import standard_artifacts

from components.index_gen import Index
from components.report_gen import EvaluationReport
from components.resolvers import ServedIndexStrategy


class Store:
    """Models, reports and indexes of many runs, with what each was made of."""

    def __init__(self) -> None:
        connection = proto.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(connection)
        self._kind = self.store.put_artifact_type(proto.ArtifactType(name="Any"))
        self._node = self.store.put_execution_type(proto.ExecutionType(name="Node"))
        self.artifacts: dict[str, list] = {
            key: [] for key in ("model", "model_blessing", "report", "previous_index")
        }

    def make(self, kind: type, key: str, **inputs: int):
        artifact = kind()
        (artifact.id,) = self.store.put_artifacts([proto.Artifact(type_id=self._kind)])
        (number,) = self.store.put_executions([proto.Execution(type_id=self._node)])
        made = proto.Event(execution_id=number, artifact_id=artifact.id, type=proto.Event.OUTPUT)
        read = []
        for name, one in inputs.items():
            event = proto.Event(execution_id=number, artifact_id=one, type=proto.Event.INPUT)
            event.path.steps.add().key = name
            read.append(event)
        self.store.put_events([made, *read])
        self.artifacts.setdefault(key, []).append(artifact)
        return artifact

    def train(self, *, blessed: bool = True, reported: bool = True) -> tuple:
        model = self.make(standard_artifacts.Model, "model")
        blessing = self.make(standard_artifacts.ModelBlessing, "model_blessing")
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", int(blessed))
        report = self.make(EvaluationReport, "report", model=model.id) if reported else None
        return model, blessing, report

    def index(self, examples, model, blessing) -> Index:
        made = self.make(
            Index, "previous_index", examples=examples.id, model=model.id,
            model_blessing=blessing.id,
        )  # fmt: skip
        made.set_int_custom_property("built", 1)
        made.set_string_custom_property("settings", "{}")
        return made

    def resolve(self, examples) -> dict[str, list]:
        found = ServedIndexStrategy("{}").resolve_artifacts(
            self.store, {key: [*some] for key, some in self.artifacts.items()} | {
                "examples": [examples]
            },
        )  # fmt: skip
        assert found.pop("examples") == [examples]
        return found


def test_the_latest_blessed_model_with_its_own_report_and_the_latest_index() -> None:
    runs = Store()
    one = runs.make(standard_artifacts.Examples, "spans")
    runs.train()
    model, blessing, report = runs.train()
    runs.make(EvaluationReport, "report", model=model.id)
    again = runs.artifacts["report"][-1]  # the page has changed
    first = runs.index(one, model, blessing)
    runs.train(blessed=False)  # with a report of its own
    two = runs.make(standard_artifacts.Examples, "spans")
    del runs.artifacts["spans"]
    wanted = {"model": [model], "model_blessing": [blessing], "report": [again]}
    assert report is not again
    assert runs.resolve(two) == {**wanted, "previous_index": [first]}
    # A further run resolves to the same, so that it is cached.
    second = runs.index(two, model, blessing)
    assert runs.resolve(two) == {**wanted, "previous_index": [first]}
    three = standard_artifacts.Examples()
    three.id = 1000
    assert runs.resolve(three) == {**wanted, "previous_index": [second]}


def test_what_is_not_there() -> None:
    runs = Store()
    one = runs.make(standard_artifacts.Examples, "spans")
    del runs.artifacts["spans"]
    empty = {"model": [], "model_blessing": [], "report": [], "previous_index": []}
    assert runs.resolve(one) == empty
    model, blessing, _ = runs.train(reported=False)
    assert runs.resolve(one) == {**empty, "model": [model], "model_blessing": [blessing]}
    del runs.artifacts["report"]  # where no reports are made
    assert "report" not in runs.resolve(one)
