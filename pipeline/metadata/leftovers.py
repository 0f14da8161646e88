"""Executions of processes that are gone: killed, they could not say so themselves."""

from __future__ import annotations

from collections.abc import Collection

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import ERROR, executions_of_nodes, update_execution
from pipeline.metadata.rollbacks import NODE

_OPEN = (proto.Execution.NEW, proto.Execution.RUNNING)
_WHY = "killed: its process ended before it did"


def close_killed(
    store: mlmd.MetadataStore, pipeline: str, going_on: Collection[int] = ()
) -> list[str]:
    """Closes the executions of nodes that no process works on any more.

    They become CANCELED, not FAILED: a node that was killed has judged nothing, so its span is
    tried again. Rollbacks are left to `pipeline.operations.settle`.

    Args:
        store: The metadata store, for writing; no run of the pipeline may go on but those named.
        pipeline: Name of the pipeline.
        going_on: Ids of executions that go on, as far as anyone can tell.

    Returns:
        The nodes, in the order of their executions.
    """
    closed = []
    for node, executions in executions_of_nodes(store, pipeline).items():
        for execution in executions:
            open_ = execution.last_known_state in _OPEN and execution.id not in going_on
            if open_ and node != NODE:
                close_execution(store, execution)
                closed.append((execution.id, node))
    return [node for _, node in sorted(closed)]


def close_execution(store: mlmd.MetadataStore, execution: proto.Execution) -> None:
    """Closes one execution as killed."""
    update_execution(store, execution, proto.Execution.CANCELED, **{ERROR: _WHY})
