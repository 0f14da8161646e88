"""Which earlier model a run takes up, from a lineage in a real metadata store."""

from __future__ import annotations

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts
from tfx.utils import json_utils

from components.resolvers.previous_model import PreviousModelStrategy


class Runs:
    """The artifacts and executions of a pipeline's runs, as TFX writes them."""

    def __init__(self) -> None:
        connection = proto.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(connection)
        self._kinds = {
            name: self.store.put_artifact_type(proto.ArtifactType(name=name))
            for name in ("Examples", "Model")
        }
        self._execution_kind = self.store.put_execution_type(proto.ExecutionType(name="Node"))
        self.models: list[standard_artifacts.Model] = []
        self.blessings: list[standard_artifacts.ModelBlessing] = []

    def artifact(self, kind: str) -> int:
        (number,) = self.store.put_artifacts([proto.Artifact(type_id=self._kinds[kind])])
        return number

    def execution(self, inputs: list[int], output: int, recipe: str | None = None) -> None:
        execution = proto.Execution(type_id=self._execution_kind)
        told = json_utils.dumps({"training_recipe": recipe} if recipe else {})
        execution.custom_properties["custom_config"].string_value = told
        (number,) = self.store.put_executions([execution])
        events = [(i, proto.Event.INPUT) for i in inputs] + [(output, proto.Event.OUTPUT)]
        self.store.put_events(
            [proto.Event(execution_id=number, artifact_id=i, type=t) for i, t in events]
        )

    def train(
        self,
        examples: list[int],
        previous: int | None,
        *,
        blessed: bool = True,
        recipe: str | None = None,
    ) -> int:
        """TripletGen and Trainer; both read the previous model."""
        earlier = [] if previous is None else [previous]
        triplets, model = self.artifact("Examples"), self.artifact("Model")
        self.execution([*examples, *earlier], triplets)
        self.execution([triplets, *earlier], model, recipe)
        artifact = standard_artifacts.Model()
        artifact.id = model
        self.models.append(artifact)
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(blessed))
        self.blessings.append(blessing)
        return model

    def resolve(self, examples: list[int], rounds: int, recipe: str | None = None) -> int | None:
        current = []
        for number in examples:
            current.append(standard_artifacts.Examples())
            current[-1].id = number
        resolved = PreviousModelStrategy(rounds, recipe).resolve_artifacts(
            self.store,
            {"model": self.models, "model_blessing": self.blessings, "examples": current},
        )
        assert [artifact.id for artifact in resolved["examples"]] == examples
        assert len(resolved["model"]) == len(resolved["model_blessing"])
        return next((artifact.id for artifact in resolved["model"]), None)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_runs_on_the_same_data_come_to_rest(rounds: int) -> None:
    runs = Runs()
    examples = [runs.artifact("Examples")]
    used = []
    for _ in range(rounds + 3):
        previous = runs.resolve(examples, rounds)
        used.append(previous)
        if used.count(previous) > 1:
            break  # the same inputs as an earlier run: every node is cached
        runs.train(examples, previous)
    models = [model.id for model in runs.models]
    # Nothing, then each model once; the last input twice.
    assert used == [None, *models[:rounds], (None, *models)[rounds]]


@pytest.mark.parametrize("rounds", [0, 1])
def test_new_data_takes_up_the_latest_blessed_model(rounds: int) -> None:
    runs = Runs()
    old, new = runs.artifact("Examples"), runs.artifact("Examples")
    first = runs.train([old], None)
    assert runs.resolve([old, new], rounds) == first  # a window of two spans
    assert runs.resolve([new], rounds) == first
    second = runs.train([old, new], first)
    expected = second if rounds else first
    assert runs.resolve([old, new], rounds) == expected
    assert runs.resolve([new], rounds) == expected  # nothing in it is new


def test_refused_models_are_never_taken_up() -> None:
    runs = Runs()
    old, new = runs.artifact("Examples"), runs.artifact("Examples")
    runs.train([old], None, blessed=False)
    assert runs.resolve([new], 1) is None
    first = runs.train([old], None)
    refused = runs.train([new], first, blessed=False)
    assert refused > first
    assert runs.resolve([new], 1) == first


def test_another_recipe_takes_up_the_latest_model_of_the_same_data() -> None:
    """And then comes to rest, however often the recipe changes."""
    runs = Runs()
    examples = [runs.artifact("Examples")]
    used = []
    for recipe in ("a", "a", "b", "b", "a", "a"):
        previous = runs.resolve(examples, 0, recipe)
        if (previous, recipe) not in used:  # else every node is cached
            runs.train(examples, previous, recipe=recipe)
        used.append((previous, recipe))
    first, second, third = (model.id for model in runs.models)
    assert used == [
        (None, "a"), (None, "a"), (first, "b"), (first, "b"), (second, "a"), (second, "a")
    ]  # fmt: skip
    assert third == runs.resolve(examples, 0, "b")
