"""Executions of a pipeline, of a run and of a node."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

Value = int | float | str

DONE = (proto.Execution.COMPLETE, proto.Execution.CACHED)
ERROR = "error"  # the custom property that says why an execution failed
NO_DATA = "no_data"  # 1 on an execution that failed as there was nothing where the data should be
# TFX's types of contexts. An execution is in one of each; a rollback is in no run.
_PIPELINE, _RUN, _NODE = "pipeline", "pipeline_run", "node"


def has_run(store: mlmd.MetadataStore, pipeline: str) -> bool:
    """Whether the store knows a pipeline of this name."""
    return store.get_context_by_type_and_name(_PIPELINE, pipeline) is not None


def executions_of_pipeline(store: mlmd.MetadataStore, pipeline: str) -> list[proto.Execution]:
    """All executions of a pipeline, in the order they started."""
    return _of_context(store, store.get_context_by_type_and_name(_PIPELINE, pipeline))


def executions_of_run(store: mlmd.MetadataStore, run_id: str) -> list[proto.Execution]:
    """The executions of a run, in the order they started."""
    return _of_context(store, store.get_context_by_type_and_name(_RUN, run_id))


def executions_of_runs(
    store: mlmd.MetadataStore, pipeline: str
) -> dict[str, list[proto.Execution]]:
    """The executions of each run of a pipeline, by the id of the run, oldest first."""
    own = {execution.id for execution in executions_of_pipeline(store, pipeline)}
    # Contexts are numbered as they come, and a run's is made when its first node starts.
    contexts = sorted(store.get_contexts_by_type(_RUN), key=lambda context: context.id)
    runs = {c.name: [e for e in _of_context(store, c) if e.id in own] for c in contexts}
    return {run_id: executions for run_id, executions in runs.items() if executions}


def executions_of_node(
    store: mlmd.MetadataStore, pipeline: str, node: str
) -> list[proto.Execution]:
    """The executions of a node in all runs, in the order they started."""
    return _of_context(store, store.get_context_by_type_and_name(_NODE, f"{pipeline}.{node}"))


def executions_of_nodes(
    store: mlmd.MetadataStore, pipeline: str
) -> dict[str, list[proto.Execution]]:
    """The executions of each node of a pipeline, as of `executions_of_node`."""
    prefix = f"{pipeline}."
    return {
        context.name.removeprefix(prefix): _of_context(store, context)
        for context in store.get_contexts_by_type(_NODE)
        if context.name.startswith(prefix)
    }


def find_execution(
    store: mlmd.MetadataStore, pipeline: str, run_id: str, node: str
) -> proto.Execution | None:
    """Returns the latest execution of a node in one run, None when it has not started."""
    of_run = {execution.id for execution in executions_of_run(store, run_id)}
    found = [e for e in executions_of_node(store, pipeline, node) if e.id in of_run]
    return found[-1] if found else None


def update_execution(
    store: mlmd.MetadataStore,
    execution: proto.Execution,
    state: int | None = None,
    **properties: int | str,
) -> None:
    """Writes a new state and custom properties of an execution.

    Args:
        store: The metadata store.
        execution: Is changed too.
        state: One of `proto.Execution.State`; None keeps what it is.
        properties: Custom properties to set.
    """
    if state is not None:
        execution.last_known_state = state
    for name, value in properties.items():
        if isinstance(value, str):
            execution.custom_properties[name].string_value = value
        else:
            execution.custom_properties[name].int_value = value
    store.put_executions([execution])


def mark_failed(store: mlmd.MetadataStore, execution: proto.Execution, reason: str) -> None:
    """Closes an execution as failed and keeps the reason with it, as the property `error`."""
    update_execution(store, execution, proto.Execution.FAILED, **{ERROR: reason})


def plain_values(item: proto.Artifact | proto.Execution) -> dict[str, Value]:
    """Properties as plain values by name; a custom one goes before another of the same name."""
    values = {**item.properties, **item.custom_properties}
    return {
        name: getattr(value, kind)
        for name, value in sorted(values.items())  # the database has no order
        if (kind := value.WhichOneof("value")) in ("int_value", "double_value", "string_value")
    }


def _of_context(store: mlmd.MetadataStore, context: proto.Context | None) -> list[proto.Execution]:
    found = store.get_executions_by_context(context.id) if context else []
    return sorted(found, key=lambda execution: execution.id)
