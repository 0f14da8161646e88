"""Launches one node of a compiled pipeline and says what became of it.

Local runs and the pods of Kubeflow call the same function. TFX's launcher does the work; what it
only logs comes back as a value here, or as an exception.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Literal, NamedTuple

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import (
    DECISION_NODE,
    READ,
    UPDATE_NODE,
    artifacts_by_id,
    executions_of_nodes,
    executions_of_run,
    find_events,
    plain_values,
    skips_training,
)
from modules.runtime import node_times
from pipeline.metadata import FILES, files_fault, find_execution, mark_failed, note_files
from pipeline.runtime import NodeFailedError, defer_components, in_short

defer_components()

from tfx.dsl.io import fileio  # noqa: E402
from tfx.orchestration import metadata  # noqa: E402
from tfx.orchestration.local import runner_utils  # noqa: E402
from tfx.orchestration.portable import inputs_utils, launcher, outputs_utils  # noqa: E402
from tfx.orchestration.portable.input_resolution import exceptions  # noqa: E402
from tfx.proto.orchestration import pipeline_pb2  # noqa: E402

from pipeline.checked_cache import CheckedLauncher  # noqa: E402

REPORT_NODE = "ReportGen"

_RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
Outcome = Literal["executed", "cached", "skipped", "done before"]
_DONE: dict[int, Outcome] = {
    proto.Execution.COMPLETE: "executed",
    proto.Execution.CACHED: "cached",
}


class Launched(NamedTuple):
    """What became of a node that did not fail.

    Attributes:
        outcome: `executed`; `cached`; `skipped`, when TrainingDecision has decided against a
            training and the node is of one, or the other way round, or a condition of TFX's left
            the node out; or `done before`, by an earlier try
            of the same run.
        seconds: How long it took.
    """

    outcome: Outcome
    seconds: float


def launch_node(
    pipeline: pipeline_pb2.Pipeline, node: str, connection: metadata.Metadata
) -> Launched:
    """Runs one node unless it has already finished in this run.

    The pod of a node can start again after the node finished, when its end was not seen. What an
    earlier try left behind unfinished is removed first; its execution is taken up again.

    Args:
        pipeline: The compiled pipeline of one run.
        node: Id of the node.
        connection: TFX's handle of the metadata database.

    Returns:
        What became of it.

    Raises:
        NodeFailedError: The node failed, in its driver, its executor or because its inputs are not
            there. Its execution in the database is marked as failed, with the reason.
        MetadataError: The metadata database cannot be used.
    """
    started = time.monotonic()
    outcome = _launch(pipeline, _node(pipeline, node), connection, CheckedLauncher)
    return Launched(outcome, time.monotonic() - started)


def launch_from_cache(
    pipeline: pipeline_pb2.Pipeline, node: str, connection: metadata.Metadata
) -> Launched | None:
    """Does what a node does without its executor: takes its results from the cache, or resolves.

    A node that needs its executor, or whose driver fails, is left to `launch_node`, which takes its
    execution up. Until then this execution is running, as the run is.

    Args:
        pipeline: The compiled pipeline of one run.
        node: Id of the node; those that it waits for are done.
        connection: TFX's handle of the metadata database.

    Returns:
        What became of it; None: it is left.

    Raises:
        MetadataError: The metadata database cannot be used.
    """
    started = time.monotonic()
    found = _node(pipeline, node)
    if not (_is_resolver(found) or found.execution_options.caching_options.enable_cache):
        return None
    try:
        outcome = _launch(pipeline, found, connection, _OnlyCached)
    except _NeedsExecutorError:
        return None
    except NodeFailedError as error:
        logging.warning("%s is tried again in a pod of its own.", error)
        return None
    return Launched(outcome, time.monotonic() - started)


class _NeedsExecutorError(BaseException):
    """The cache does not have the results of a node. No Exception: it is no failure of the node."""


class _OnlyCached(CheckedLauncher):
    """TFX's launcher up to where it would start the executor."""

    def _prepare_execution(self) -> Any:
        # Private names of TFX; tests/test_private_names.py notices when they change.
        prepared = super()._prepare_execution()
        if prepared.is_execution_needed:
            self._clean_up_stateless_execution_info(prepared.execution_info)
            raise _NeedsExecutorError
        return prepared


def _launch(
    pipeline: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    connection: metadata.Metadata,
    kind: type[launcher.Launcher],
) -> Outcome:
    node_id = node.node_info.id
    run_id = pipeline.runtime_spec.pipeline_run_id.field_value.string_value

    def find(store: mlmd.MetadataStore) -> proto.Execution | None:
        return find_execution(store, pipeline.pipeline_info.id, run_id, node_id)

    with connection as handle:  # never kept while a node runs: a database may end idle connections
        behind = _ancestors(pipeline, node)
        if DECISION_NODE in behind:
            decision = find_execution(
                handle.store, pipeline.pipeline_info.id, run_id, DECISION_NODE
            )
            trains = decision is None or not skips_training(handle.store, decision)
            if trains is (UPDATE_NODE in (*behind, node_id)):
                return "skipped"
        earlier = find(handle.store)
    if earlier is not None:
        if earlier.last_known_state in _DONE:
            return "done before"
        _remove_outputs(pipeline, node, earlier.id)
    if node_id == REPORT_NODE:
        with connection as handle:
            node_times.note(_seconds_so_far(handle.store, pipeline.pipeline_info.id, run_id))
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    try:
        kind(
            pipeline_node=node,
            mlmd_connection=connection,
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=pipeline.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
        ).launch()
    except Exception as error:
        reason = in_short(str(error))
        with connection as handle:
            if faults := _input_faults(handle.store, find(handle.store)):
                reason = f"{reason} Its inputs have changed on the disk: {' '.join(faults)}"
        # The launcher marks what its executor raises, but not what a driver does.
        with connection as handle:
            execution = find(handle.store)
            if execution is not None and execution.last_known_state not in _DONE:
                mark_failed(handle.store, execution, f"{type(error).__name__}: {reason}")
        raise NodeFailedError(f"{node_id} failed: {reason}") from error
    with connection as handle:
        execution = find(handle.store)
        if execution is None:
            return "skipped"
        if execution.last_known_state not in _DONE:  # the launcher only logs unresolvable inputs
            reason = f"its inputs cannot be resolved: {_why_unresolved(node, handle)}"
            mark_failed(handle.store, execution, reason)
            raise NodeFailedError(f"{node_id} failed: {reason}")
        if _DONE[execution.last_known_state] == "executed" and not _is_resolver(node):
            note_files(handle.store, execution)
    return _DONE[execution.last_known_state]


def _input_faults(store: mlmd.MetadataStore, execution: proto.Execution | None) -> list[str]:
    """Which inputs of a node are not what was written: its error may be about something else."""
    events = find_events(store, READ, executions=[execution.id]) if execution else []
    artifacts = artifacts_by_id(store, (event.artifact_id for event in events)).values()
    faults = (
        files_fault(one.type, one.uri, str(plain_values(one).get(FILES, ""))) for one in artifacts
    )
    return [fault for fault in faults if fault]


def _seconds_so_far(store: mlmd.MetadataStore, pipeline: str, run_id: str) -> dict[str, float]:
    """How long each node of the run took, NaN for those from the cache."""
    node_of = {
        execution.id: node
        for node, executions in executions_of_nodes(store, pipeline).items()
        for execution in executions
    }
    return {
        node_of[one.id]: math.nan
        if one.last_known_state == proto.Execution.CACHED
        else (one.last_update_time_since_epoch - one.create_time_since_epoch) / 1000
        for one in executions_of_run(store, run_id)
        if one.id in node_of and one.last_known_state in _DONE
    }


def _node(pipeline: pipeline_pb2.Pipeline, node: str) -> pipeline_pb2.PipelineNode:
    nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}
    if node not in nodes:
        raise NodeFailedError(
            f"There is no node {node!r} in this run; there are {', '.join(nodes)}."
        )
    return nodes[node]


def _is_resolver(node: pipeline_pb2.PipelineNode) -> bool:
    return bool(node.node_info.type.name == _RESOLVER)


def _ancestors(pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> set[str]:
    """Ids of all nodes that a node waits for, directly or through others."""
    upstream = {
        n.pipeline_node.node_info.id: n.pipeline_node.upstream_nodes for n in pipeline.nodes
    }
    found: set[str] = set()
    waiting = [*node.upstream_nodes]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += upstream.get(one, ())
    return found


def _why_unresolved(node: pipeline_pb2.PipelineNode, connection: metadata.Metadata) -> str:
    """Resolves the inputs once more, for the reason that TFX's launcher keeps to itself."""
    try:
        inputs_utils.resolve_input_artifacts(pipeline_node=node, metadata_handle=connection)
    except exceptions.InputResolutionError as error:
        reason: BaseException = error
        while reason.__cause__:
            reason = reason.__cause__
        return str(reason)
    return "see the log above"


def _remove_outputs(
    pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode, execution_id: int
) -> None:
    resolver = outputs_utils.OutputsResolver(node, pipeline.pipeline_info, pipeline.runtime_spec)
    for artifacts in resolver.generate_output_artifacts(execution_id).values():
        for artifact in artifacts:
            if not artifact.is_external and fileio.exists(artifact.uri):
                logging.warning("Removing %s, left by an earlier try.", artifact.uri)
                remove = fileio.rmtree if fileio.isdir(artifact.uri) else fileio.remove
                remove(artifact.uri)
