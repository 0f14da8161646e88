"""Runs of a pipeline: each node with its execution and what it read and made."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata.executions import (
    Value,
    executions_of_nodes,
    executions_of_run,
    executions_of_runs,
    plain_values,
)
from components.metadata.lineage import MADE, READ, artifacts_by_id, event_key, find_events

Values = dict[str, Value]


@dataclasses.dataclass(frozen=True)
class NodeExecution:
    """A node in a run.

    Attributes:
        node: Id of the node.
        execution: The latest of the node in the run.
        read: Properties of each artifact and its `uri`, by input.
        made: The same by output.
    """

    node: str
    execution: proto.Execution
    read: dict[str, list[Values]]
    made: dict[str, list[Values]]


@dataclasses.dataclass(frozen=True)
class PipelineRun:
    """A run: `nodes` by their id, in the order they started."""

    run_id: str
    nodes: dict[str, NodeExecution]

    def first(self, key: str) -> Values:
        """The first artifact that any node made as this output; empty if there is none."""
        return next((node.made[key][0] for node in self.nodes.values() if key in node.made), {})


def read_pipeline_runs(store: mlmd.MetadataStore, pipeline: str) -> list[PipelineRun]:
    """Reads the runs of a pipeline, oldest first."""
    node_of = _nodes_by_execution(store, pipeline)
    runs = []
    for run_id, executions in executions_of_runs(store, pipeline).items():
        by_node = {node_of[e.id]: e for e in executions if e.id in node_of}
        runs.append(PipelineRun(run_id, _read_nodes(store, by_node)))
    return [run for run in runs if run.nodes]


def read_pipeline_run(store: mlmd.MetadataStore, pipeline: str, run_id: str) -> PipelineRun:
    """Reads one run as far as it has come; without any node if it has not started."""
    node_of = _nodes_by_execution(store, pipeline)
    executions = executions_of_run(store, run_id)
    by_node = {node_of[e.id]: e for e in executions if e.id in node_of}
    return PipelineRun(run_id, _read_nodes(store, by_node))


def _nodes_by_execution(store: mlmd.MetadataStore, pipeline: str) -> dict[int, str]:
    return {
        execution.id: node
        for node, executions in executions_of_nodes(store, pipeline).items()
        for execution in executions
    }


def _read_nodes(
    store: mlmd.MetadataStore, by_node: dict[str, proto.Execution]
) -> dict[str, NodeExecution]:
    events = find_events(store, executions=(e.id for e in by_node.values()))
    artifacts = artifacts_by_id(store, (event.artifact_id for event in events))
    known = {i: {"uri": one.uri, **plain_values(one)} for i, one in artifacts.items()}

    def of(execution: proto.Execution, kinds: Iterable[int]) -> dict[str, list[Values]]:
        found: dict[str, list[Values]] = {}
        for event in events:
            if event.execution_id == execution.id and event.type in kinds:
                found.setdefault(event_key(event), []).append(known[event.artifact_id])
        return found

    return {
        node: NodeExecution(node, execution, of(execution, READ), of(execution, MADE))
        for node, execution in by_node.items()
    }


def find_running(
    store: mlmd.MetadataStore, pipeline: str, patience: float
) -> list[tuple[str, str, proto.Execution]]:
    """Finds the executions that go on, as far as the metadata can tell.

    A process that is killed cannot say so: its execution stays RUNNING for ever. So an old one does
    not count when the node was started again later.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        patience: Seconds in which an execution may go on beside later ones of its node.

    Returns:
        Id of the run, node and execution, oldest first.
    """
    by_node = executions_of_nodes(store, pipeline)
    node_of = {e.id: node for node, executions in by_node.items() for e in executions}
    latest = {executions[-1].id for executions in by_node.values() if executions}
    since = (time.time() - patience) * 1000
    return [
        (run_id, node_of[e.id], e)
        for run_id, executions in executions_of_runs(store, pipeline).items()
        for e in executions
        if e.last_known_state == proto.Execution.RUNNING
        and e.id in node_of
        and (e.id in latest or e.create_time_since_epoch > since)
    ]
