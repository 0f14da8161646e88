"""How a rollback stands in the metadata: an execution from a model to a pushed model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import (
    CHECKSUMS,
    EXTRAS,
    PUSHED,
    READ,
    VERSION,
    artifacts_by_id,
    executions_of_node,
    find_events,
    plain_values,
)

NODE = "Rollback"
_SERVED = "served_version"


def start_rollback(
    store: mlmd.MetadataStore,
    pipeline: str,
    target: proto.Artifact,
    served: int,
    extras: Mapping[str, str],
    checksums: Mapping[str, str],
) -> proto.Execution:
    """Notes what is about to be done, so that a later call can complete it.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        target: The Model artifact to push.
        served: The newest version before.
        extras: What to push beside the model, see `components.pusher.push`.
        checksums: Of the files when they were pushed first; empty if they are not known.

    Returns:
        The execution, which is running.
    """
    type_id = store.put_execution_type(proto.ExecutionType(name=NODE))
    execution = proto.Execution(type_id=type_id, last_known_state=proto.Execution.RUNNING)
    execution.custom_properties[_SERVED].string_value = str(served)
    execution.custom_properties[EXTRAS].string_value = json.dumps(dict(extras))
    execution.custom_properties[CHECKSUMS].string_value = json.dumps(dict(checksums))
    contexts = [
        _context(store, "pipeline", pipeline),
        _context(store, "node", f"{pipeline}.{NODE}"),
    ]
    read = proto.Event(type=proto.Event.INPUT, path=_path("model"))
    execution_id, _, _ = store.put_execution(execution, [(target, read)], contexts)
    return store.get_executions_by_id([execution_id])[0]


def unfinished_rollbacks(
    store: mlmd.MetadataStore, pipeline: str
) -> list[tuple[proto.Execution, proto.Artifact]]:
    """Rollbacks that were killed, with the Model artifacts that they were to push."""
    found = []
    for execution in executions_of_node(store, pipeline, NODE):
        if execution.last_known_state == proto.Execution.RUNNING:
            (event,) = find_events(store, READ, "model", executions=[execution.id])
            (target,) = artifacts_by_id(store, [event.artifact_id]).values()
            found.append((execution, target))
    return found


def served_before(execution: proto.Execution) -> int:
    """The version that was served when a rollback started."""
    return int(plain_values(execution)[_SERVED])


def extras_to_push(execution: proto.Execution) -> dict[str, str]:
    """What a rollback pushes beside the model."""
    extras: dict[str, str] = json.loads(str(plain_values(execution).get(EXTRAS, "{}")))
    return extras


def recorded_checksums(execution: proto.Execution) -> dict[str, str]:
    """The checksums of what a rollback pushes, as its first push has recorded them."""
    sums: dict[str, str] = json.loads(str(plain_values(execution).get(CHECKSUMS, "{}")))
    return sums


def end_rollback(
    store: mlmd.MetadataStore, pipeline: str, execution: proto.Execution, version: int, path: str
) -> None:
    """Completes the execution, with the artifact that Pusher would have made.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        execution: See `start_rollback`.
        version: The new version.
        path: Its folder.
    """
    pushed = proto.Artifact(
        type_id=store.get_artifact_type("PushedModel").id, uri=path, state=proto.Artifact.LIVE
    )
    pushed.custom_properties[PUSHED].int_value = 1
    pushed.custom_properties["pushed_destination"].string_value = path
    pushed.custom_properties[VERSION].string_value = str(version)
    pushed.custom_properties[EXTRAS].string_value = json.dumps(extras_to_push(execution))
    pushed.custom_properties[CHECKSUMS].string_value = json.dumps(recorded_checksums(execution))
    execution.last_known_state = proto.Execution.COMPLETE
    made = proto.Event(type=proto.Event.OUTPUT, path=_path("pushed_model"))
    store.put_execution(execution, [(pushed, made)], [_context(store, "pipeline", pipeline)])


def _context(store: mlmd.MetadataStore, kind: str, name: str) -> proto.Context:
    found = store.get_context_by_type_and_name(kind, name)
    if found is None:
        type_id = store.put_context_type(proto.ContextType(name=kind), can_omit_fields=True)
        found = proto.Context(type_id=type_id, name=name)
    return found


def _path(key: str) -> proto.Event.Path:
    return proto.Event.Path(steps=[proto.Event.Path.Step(key=key), proto.Event.Path.Step(index=0)])
