"""What was made from what, by the events of the metadata store."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.types import standard_artifacts, standard_component_specs

# A cached execution has the same outputs as the one that did the work.
_MADE = (proto.Event.OUTPUT, proto.Event.INTERNAL_OUTPUT)
_READ = (proto.Event.INPUT, proto.Event.INTERNAL_INPUT)


class Lineage:
    """Walks the lineage of artifacts; all artifacts are given and returned as MLMD ids.

    Args:
        store: The metadata store.
    """

    def __init__(self, store: mlmd.MetadataStore) -> None:
        self._store = store
        self._models: dict[int, tuple[set[int], set[int]]] = {}

    def inputs_of(self, artifacts: Collection[int], key: str | None = None) -> set[int]:
        """What the executions read that made these artifacts.

        Args:
            artifacts: Ids.
            key: Only what was read as this input, such as `examples`; default: everything.
        """
        executions = self._executions(artifacts, _MADE)
        return self._artifacts(executions, _READ, key)

    def outputs_of(self, artifacts: Collection[int], key: str, output: str) -> set[int]:
        """What was made by the executions that read these artifacts.

        A failed execution has no outputs.

        Args:
            artifacts: Ids.
            key: As which input they were read, such as `examples`.
            output: Only what was made as this output, such as `statistics`.
        """
        executions = self._executions(artifacts, _READ, key)
        return self._artifacts(executions, _MADE, output)

    def maker(self, artifact: int) -> proto.Execution:
        """The latest execution that made an artifact, or found it in the cache.

        Raises:
            ValueError: There is none.
        """
        executions = self._executions([artifact], (proto.Event.OUTPUT,))
        if not executions:
            raise ValueError(f"No execution made the artifact {artifact}.")
        return self._store.get_executions_by_id([max(executions)])[0]

    def validated_statistics(self, examples: Iterable[int]) -> dict[int, int]:
        """Finds which examples passed the validation.

        An artifact of ExampleValidator proves it in any state: it may have been removed to save
        room. Validation of other statistics than those made of the examples does not count, so a
        comparison with the statistics of an earlier span says nothing about that span.

        Args:
            examples: Ids of Examples artifacts.

        Returns:
            The latest statistics that passed, by the examples they were made of; without those
            examples that were never validated, or refused each time.
        """
        passed = {}
        for one in examples:
            statistics = self.outputs_of(
                [one],
                standard_component_specs.EXAMPLES_KEY,
                standard_component_specs.STATISTICS_KEY,
            )
            for of_one in sorted(statistics, reverse=True):
                if self.outputs_of(
                    [of_one],
                    standard_component_specs.STATISTICS_KEY,
                    standard_component_specs.ANOMALIES_KEY,
                ):
                    passed[one] = of_one
                    break
        return passed

    def is_trained_on(self, model: int, examples: set[int]) -> bool:
        """Whether all these examples artifacts are among what the model was made from."""
        return examples <= self._ancestors(model)[0]

    def made_from(self, model: int) -> int | None:
        """The id of the model that this one was made from, if any."""
        return max(self._ancestors(model)[1], default=None)

    def _ancestors(self, model: int) -> tuple[set[int], set[int]]:
        """Ids of the ancestors that are no models, and of the nearest ones that are."""
        if model not in self._models:
            model_type = self._store.get_artifact_type(standard_artifacts.Model.TYPE_NAME).id
            others: set[int] = set()
            models: set[int] = set()
            new = {model}
            while new:
                inputs = self.inputs_of(new) - others - models - {model}
                kinds = {
                    artifact.id: artifact.type_id
                    for artifact in self._store.get_artifacts_by_id(sorted(inputs))
                }
                models |= {i for i, kind in kinds.items() if kind == model_type}
                new = set(kinds) - models
                others |= new
            self._models[model] = others, models
        return self._models[model]

    def _executions(
        self, artifacts: Collection[int], types: tuple[int, ...], key: str | None = None
    ) -> set[int]:
        events = self._store.get_events_by_artifact_ids(sorted(artifacts)) if artifacts else ()
        return {event.execution_id for event in events if _fits(event, types, key)}

    def _artifacts(
        self, executions: Collection[int], types: tuple[int, ...], key: str | None
    ) -> set[int]:
        events = self._store.get_events_by_execution_ids(sorted(executions)) if executions else ()
        return {event.artifact_id for event in events if _fits(event, types, key)}


def _fits(event: proto.Event, types: tuple[int, ...], key: str | None) -> bool:
    """Whether an event is of these types, and of this input or output key if one is given."""
    keys = {step.key for step in event.path.steps[:1]}
    return event.type in types and (key is None or key in keys)
