"""What was made from what, by the events of the metadata store."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

# Kinds of events. A cached execution has the same outputs as the one that did the work; a resolver
# has internal ones.
MADE = (proto.Event.OUTPUT, proto.Event.INTERNAL_OUTPUT)
READ = (proto.Event.INPUT, proto.Event.INTERNAL_INPUT)
_MODEL, _EXAMPLES, _STATISTICS, _ANOMALIES = "Model", "examples", "statistics", "anomalies"


def find_events(
    store: mlmd.MetadataStore,
    kinds: Collection[int] | None = None,
    key: str | None = None,
    *,
    executions: Iterable[int] = (),
    artifacts: Iterable[int] = (),
) -> list[proto.Event]:
    """Finds the events of executions, or of artifacts.

    Args:
        store: The metadata store.
        kinds: `MADE`, `READ` or others of `proto.Event.Type`; default: all.
        key: Only those of this input or output, such as `examples`; default: all.
        executions: Ids.
        artifacts: Ids; give these or those.

    Returns:
        By execution, key and position, whatever order the database has.
    """
    of_executions, of_artifacts = sorted(set(executions)), sorted(set(artifacts))
    found = list(store.get_events_by_execution_ids(of_executions)) if of_executions else []
    if of_artifacts:
        found += store.get_events_by_artifact_ids(of_artifacts)
    chosen = (
        event
        for event in found
        if (kinds is None or event.type in kinds) and (key is None or event_key(event) == key)
    )
    return sorted(chosen, key=lambda e: (e.execution_id, event_key(e), _position(e)))


def event_key(event: proto.Event) -> str:
    """The name of the input or output; empty if the event has none."""
    return event.path.steps[0].key if event.path.steps else ""


def _position(event: proto.Event) -> int:
    return event.path.steps[1].index if len(event.path.steps) > 1 else 0


def artifacts_by_id(
    store: mlmd.MetadataStore, artifacts: Iterable[int]
) -> dict[int, proto.Artifact]:
    """Artifacts of these ids, in any state."""
    ids = sorted(set(artifacts))
    return {one.id: one for one in store.get_artifacts_by_id(ids)} if ids else {}


def artifacts_by_type(store: mlmd.MetadataStore, pipeline: str) -> dict[str, list[proto.Artifact]]:
    """All artifacts of a pipeline, in any state, by TFX's name of their type; ids ascend."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    found = store.get_artifacts_by_context(context.id) if context else []
    by_type: dict[str, list[proto.Artifact]] = {}
    for artifact in sorted(found, key=lambda one: one.id):
        by_type.setdefault(types[artifact.type_id], []).append(artifact)
    return by_type


def all_artifacts(store: mlmd.MetadataStore) -> list[proto.Artifact]:
    """The artifacts of all pipelines, in any state."""
    return list(store.get_artifacts())


class Lineage:
    """Walks the lineage of artifacts; all artifacts are given and returned as ids.

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
        return self._artifacts(self._executions(artifacts, MADE), READ, key)

    def outputs_of(self, artifacts: Collection[int], key: str, output: str) -> set[int]:
        """What was made by the executions that read these artifacts.

        A failed execution has no outputs.

        Args:
            artifacts: Ids.
            key: As which input they were read, such as `examples`.
            output: Only what was made as this output, such as `statistics`.
        """
        return self._artifacts(self._executions(artifacts, READ, key), MADE, output)

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
            examples that were never validated, or rejected each time.
        """
        passed = {}
        for one in examples:
            statistics = self.outputs_of([one], _EXAMPLES, _STATISTICS)
            for of_one in sorted(statistics, reverse=True):
                if self.has_passed(of_one):
                    passed[one] = of_one
                    break
        return passed

    def has_passed(self, statistics: int) -> bool:
        """Whether ExampleValidator accepted these statistics; if it fails it has no output."""
        return bool(self.outputs_of([statistics], _STATISTICS, _ANOMALIES))

    def is_trained_on(self, model: int, examples: set[int]) -> bool:
        """Whether all these examples artifacts are among what the model was made from."""
        return examples <= self._ancestors(model)[0]

    def trained_on(self, model: int) -> set[int]:
        """Ids of all artifacts but models that the model was made from."""
        return set(self._ancestors(model)[0])

    def made_from(self, model: int) -> int | None:
        """The id of the model that this one was made from, if any."""
        return max(self._ancestors(model)[1], default=None)

    def _ancestors(self, model: int) -> tuple[set[int], set[int]]:
        """Ids of the ancestors that are no models, and of the nearest ones that are."""
        if model not in self._models:
            model_type = self._store.get_artifact_type(_MODEL).id
            others: set[int] = set()
            models: set[int] = set()
            new = {model}
            while new:
                inputs = self.inputs_of(new) - others - models - {model}
                found = artifacts_by_id(self._store, inputs)
                models |= {i for i, one in found.items() if one.type_id == model_type}
                new = set(found) - models
                others |= new
            self._models[model] = others, models
        return self._models[model]

    def _executions(
        self, artifacts: Collection[int], kinds: Collection[int], key: str | None = None
    ) -> set[int]:
        events = find_events(self._store, kinds, key, artifacts=artifacts)
        return {event.execution_id for event in events}

    def _artifacts(
        self, executions: Collection[int], kinds: Collection[int], key: str | None
    ) -> set[int]:
        events = find_events(self._store, kinds, key, executions=executions)
        return {event.artifact_id for event in events}
