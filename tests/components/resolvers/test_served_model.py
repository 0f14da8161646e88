"""Which model a decision judges, by which examples and after which decisions."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.types import standard_artifacts

from components.resolvers.served_model import ServedModelStrategy
from components.training_decision import Decision


class Runs:
    """ExampleGen, TripletGen and Trainer of many runs, as TFX writes them."""

    def __init__(self) -> None:
        connection = proto.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(connection)
        self._kinds = {
            name: self.store.put_artifact_type(proto.ArtifactType(name=name))
            for name in ("Examples", "Model")
        }
        self._nodes = {
            name: self.store.put_execution_type(proto.ExecutionType(name=name))
            for name in ("ExampleGen", "TripletGen", "Trainer")
        }
        self.examples: list[standard_artifacts.Examples] = []
        self.models: list[standard_artifacts.Model] = []
        self.blessings: list[standard_artifacts.ModelBlessing] = []
        self.decisions: list[Decision] = []

    def _made(self, node: str, kind: str, inputs: list[int], **properties: str) -> int:
        (made,) = self.store.put_artifacts([proto.Artifact(type_id=self._kinds[kind])])
        execution = proto.Execution(type_id=self._nodes[node])
        for name, value in properties.items():
            execution.custom_properties[name].string_value = value
        (number,) = self.store.put_executions([execution])
        events = [(i, proto.Event.INPUT) for i in inputs] + [(made, proto.Event.OUTPUT)]
        self.store.put_events(
            [proto.Event(execution_id=number, artifact_id=i, type=t) for i, t in events]
        )
        return made

    def read(self, span: int) -> standard_artifacts.Examples:
        artifact = standard_artifacts.Examples()
        artifact.id = self._made("ExampleGen", "Examples", [])
        artifact.set_int_custom_property("span", span)
        self.examples.append(artifact)
        return artifact

    def train(self, *spans: standard_artifacts.Examples, recipe="now", blessed=True, base=None):
        triplets = standard_artifacts.Examples()
        started = [base.id] if base else []
        triplets.id = self._made("TripletGen", "Examples", [one.id for one in spans])
        self.examples.append(triplets)
        model = standard_artifacts.Model()
        model.id = self._made("Trainer", "Model", [triplets.id, *started], recipe=recipe)
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", int(blessed))
        self.models.append(model)
        self.blessings.append(blessing)
        return model

    def decide(self, span: int, model: standard_artifacts.Model, *, train: bool) -> Decision:
        decision = Decision()
        decision.id = 1000 + len(self.decisions)
        decision.set_int_custom_property("span", span)
        decision.set_int_custom_property("train", int(train))
        decision.set_int_custom_property("judged_model", model.id)
        self.decisions.append(decision)
        return decision

    def resolve(self, current: standard_artifacts.Examples) -> tuple[list, list, list]:
        found = ServedModelStrategy("now").resolve_artifacts(
            self.store,
            {
                "model": list(self.models),
                "model_blessing": list(self.blessings),
                "examples": [current],
                "reference": list(self.examples),
                "earlier": list(self.decisions),
            },
        )
        assert found["examples"] == [current]
        assert len(found["model"]) == len(found["model_blessing"])
        return found["model"], found["reference"], found["earlier"]


def test_the_first_run_has_none() -> None:
    runs = Runs()
    assert runs.resolve(runs.read(1)) == ([], [], [])


def test_the_latest_blessed_model_with_the_spans_it_was_trained_on() -> None:
    runs = Runs()
    one, two, three, four = (runs.read(span) for span in (1, 2, 3, 4))
    first = runs.train(two, one)
    assert runs.resolve(three) == ([first], [one, two], [])
    second = runs.train(two, three, base=first)
    # What it started from has a reference of its own.
    assert runs.resolve(four) == ([second], [two, three], [])
    runs.train(three, four, blessed=False)
    assert runs.resolve(four) == ([second], [two, three], [])
    # A further run on span 3 asks what the first one asked.
    assert runs.resolve(three) == ([first], [one, two], [])
    runs.examples.remove(one)  # by gc
    assert runs.resolve(three) == ([first], [two], [])


def test_a_model_of_other_settings_is_none() -> None:
    runs = Runs()
    one, two = runs.read(1), runs.read(2)
    runs.train(one)
    runs.train(one, recipe="before")
    assert runs.resolve(two) == ([], [], [])


def test_the_row_of_decisions_about_this_model() -> None:
    runs = Runs()
    spans = [runs.read(span) for span in range(10)]
    old = runs.train(spans[0])
    runs.decide(1, old, train=True)
    model = runs.train(spans[1])
    runs.decide(2, old, train=False)  # it was served again for a while
    skip = runs.decide(3, model, train=False)
    runs.decide(4, model, train=True)
    last = runs.decide(4, model, train=False)  # the span came once more
    assert runs.resolve(spans[5]) == ([model], [spans[1]], [skip, last])
    assert runs.resolve(spans[4]) == ([model], [spans[1]], [skip])
    trained = runs.decide(5, model, train=True)
    after = runs.decide(6, model, train=False)
    assert runs.resolve(spans[7])[2] == [trained, after]
    assert runs.resolve(spans[6])[2] == [trained]
