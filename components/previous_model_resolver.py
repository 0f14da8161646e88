"""Which earlier model TripletGen mines with and Trainer starts from."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import standard_artifacts


class PreviousModelStrategy(LatestBlessedModelStrategy):
    """The latest blessed model, chosen so that runs on unchanged data come to rest.

    TFX's `LatestBlessedModelStrategy` alone would make every run train: each run blesses a model,
    which is a new input of the next run. Here a model that was itself trained on the current
    examples is taken at most `rounds_on_same_data` times in a row. After that the strategy resolves
    to the model that the latest one was made from: nothing changes, and every node is cached.

    With 0 rounds a model is taken up only when new examples arrive; with 1 a second run on the same
    examples mines with the model of the first, and the third run is cached.

    Expects the channels `model`, `model_blessing` and `examples`.
    """

    def __init__(self, rounds_on_same_data: int = 0) -> None:
        """Takes the number of rounds, at least 0 (in `Resolver(config=…)`)."""
        super().__init__()
        self._rounds = rounds_on_same_data

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `model` and `model_blessing`; both are empty when there is no such model.

        Args:
            store: The metadata store, in which the lineage of the models is looked up.
            input_dict: All models and blessings of the pipeline, and the current examples.

        Returns:
            At most one artifact for `model` and `model_blessing`; `examples` as they were.
        """
        examples = {artifact.id for artifact in input_dict["examples"]}
        resolved = self._latest_blessed(input_dict["model"], input_dict["model_blessing"])
        if resolved["model"]:
            lineage = _Lineage(store)
            latest = resolved["model"][0].id
            oldest, rounds = latest, 0
            while oldest is not None and lineage.is_trained_on(oldest, examples):
                oldest, rounds = lineage.made_from(oldest), rounds + 1
            if rounds > self._rounds:
                parent = lineage.made_from(latest)
                resolved = self._latest_blessed(
                    [model for model in input_dict["model"] if model.id == parent],
                    input_dict["model_blessing"],
                )
        return {**resolved, "examples": input_dict["examples"]}

    def _latest_blessed(
        self, models: list[types.Artifact], blessings: list[types.Artifact]
    ) -> dict[str, list[types.Artifact]]:
        return self._resolve(
            {"model": list(models), "model_blessing": blessings}, "model", "model_blessing"
        )


class _Lineage:
    """What models were made from, by the events of the metadata store."""

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self._store = store
        self._model_type = next(
            kind.id
            for kind in store.get_artifact_types()
            if kind.name == standard_artifacts.Model.TYPE_NAME
        )
        self._inputs: dict[int, tuple[set[int], set[int]]] = {}

    def is_trained_on(self, model: int, examples: set[int]) -> bool:
        """Whether all these examples artifacts are among what the model was made from."""
        return examples <= self._ancestors(model)[0]

    def made_from(self, model: int) -> int | None:
        """The id of the model that this one was made from, if any."""
        return max(self._ancestors(model)[1], default=None)

    def _ancestors(self, model: int) -> tuple[set[int], set[int]]:
        """Ids of the ancestors that are no models, and of the nearest ones that are."""
        if model not in self._inputs:
            others: set[int] = set()
            models: set[int] = set()
            new = {model}
            while new:
                inputs = self._inputs_of(new) - others - models - {model}
                kinds = {
                    artifact.id: artifact.type_id
                    for artifact in self._store.get_artifacts_by_id(sorted(inputs))
                }
                models |= {i for i, kind in kinds.items() if kind == self._model_type}
                new = set(kinds) - models
                others |= new
            self._inputs[model] = others, models
        return self._inputs[model]

    def _inputs_of(self, artifacts: set[int]) -> set[int]:
        """Ids of the artifacts that the executions read which made these."""
        # A cached execution has the same outputs as the one that did the work.
        made = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
        executions = {
            event.execution_id
            for event in self._store.get_events_by_artifact_ids(sorted(artifacts))
            if event.type in made
        }
        read = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.INTERNAL_INPUT)
        return {
            event.artifact_id
            for event in self._store.get_events_by_execution_ids(sorted(executions))
            if event.type in read
        }
