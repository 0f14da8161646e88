"""What a pod runs: one node of a compiled pipeline, by TFX's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from types import FrameType

import absl.logging
import click
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.metadata import connect_store, connection_config, find_execution, mark_failed
from pipeline.runtime import MetadataError, defer_components

defer_components()

from tfx.dsl.io import fileio  # noqa: E402
from tfx.orchestration import metadata  # noqa: E402
from tfx.orchestration.local import runner_utils  # noqa: E402
from tfx.orchestration.portable import launcher, outputs_utils  # noqa: E402
from tfx.proto.orchestration import pipeline_pb2  # noqa: E402

# Read by `modules.training.checkpoints`: runs at once never share the state of a training.
RUN_ID = "TRIPLET_RUN_ID"

_DONE = {proto.Execution.COMPLETE: "executed", proto.Execution.CACHED: "cached"}


class NodeFailedError(Exception):
    """The node did not finish; its execution is marked failed with this reason."""


class TerminatedError(Exception):
    """The pod was told to stop."""


def run_node(ir: pipeline_pb2.Pipeline, node: str, metadata_url: str) -> str:
    """Runs one node unless it has already finished in this run.

    The pod of a node can start again after the node finished, when its end was not seen. What an
    earlier try left behind unfinished is removed first; its execution is taken up again.

    Args:
        ir: The compiled pipeline of one run.
        node: Id of the node.
        metadata_url: See `pipeline.metadata.connection.connection_config`.

    Returns:
        `executed`, `cached`, `done before` or `skipped` (a condition left it out).

    Raises:
        NodeFailedError: The node failed.
        MetadataError: The metadata database cannot be used.
    """
    pipeline = ir.pipeline_info.id
    run_id = ir.runtime_spec.pipeline_run_id.field_value.string_value
    pipeline_node = _node(ir, node)
    store = connect_store(metadata_url)
    earlier = find_execution(store, pipeline, run_id, node)
    if earlier is not None:
        if earlier.last_known_state in _DONE:
            return "done before"
        _remove_outputs(ir, pipeline_node, earlier.id)
    os.environ[RUN_ID] = run_id
    deployment = runner_utils.extract_local_deployment_config(ir)
    try:
        launcher.Launcher(
            pipeline_node=pipeline_node,
            mlmd_connection=_Metadata(metadata_url),
            pipeline_info=ir.pipeline_info,
            pipeline_runtime_spec=ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node),
        ).launch()
    except Exception as error:
        # The launcher marks what its executor raises, but not what a driver does.
        execution = find_execution(store, pipeline, run_id, node)
        if execution is not None and execution.last_known_state not in _DONE:
            mark_failed(store, execution, f"{type(error).__name__}: {error}")
        raise NodeFailedError(f"{node} failed: {error}") from error
    execution = find_execution(store, pipeline, run_id, node)
    if execution is None:
        return "skipped"
    if execution.last_known_state not in _DONE:  # the launcher only logs unresolvable inputs
        reason = "its inputs cannot be resolved, see the log above"
        mark_failed(store, execution, reason)
        raise NodeFailedError(f"{node} failed: {reason}")
    return _DONE[execution.last_known_state]


class _Metadata(metadata.Metadata):
    """TFX's handle on our store."""

    def __init__(self, url: str) -> None:
        super().__init__(connection_config(url))
        self._url = url

    def __enter__(self) -> _Metadata:
        self._store = connect_store(self._url)
        self._users += 1
        return self


def _node(ir: pipeline_pb2.Pipeline, node: str) -> pipeline_pb2.PipelineNode:
    nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in ir.nodes}
    if node not in nodes:
        raise NodeFailedError(
            f"There is no node {node!r} in this run; there are {', '.join(nodes)}."
        )
    return nodes[node]


def _remove_outputs(
    ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode, execution_id: int
) -> None:
    resolver = outputs_utils.OutputsResolver(node, ir.pipeline_info, ir.runtime_spec)
    for artifacts in resolver.generate_output_artifacts(execution_id).values():
        for artifact in artifacts:
            if not artifact.is_external and fileio.exists(artifact.uri):
                logging.warning("Removing %s, left by an earlier try.", artifact.uri)
                remove = fileio.rmtree if fileio.isdir(artifact.uri) else fileio.remove
                remove(artifact.uri)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise TerminatedError(f"stopped by {signal.Signals(signal_number).name}")


@click.command()
@click.option("--runs", required=True, help="Folder in which `kubeflow.prepare` left the pipeline.")
@click.option("--run-id", required=True, help="Identifies the run in the metadata database.")
@click.option("--node", required=True, help="Id of the node.")
@click.option("--metadata", "metadata_url", required=True, help="URL of the metadata database.")
def main(runs: str, run_id: str, node: str, metadata_url: str) -> None:
    """Run one node of a compiled pipeline (the entrypoint of its pod)."""
    absl.logging.set_verbosity(absl.logging.INFO)
    signal.signal(signal.SIGTERM, _terminate)
    started = time.monotonic()
    pipeline_file = f"{runs}/{run_id}.pb"
    try:
        if not fileio.exists(pipeline_file):
            raise NodeFailedError(
                f"{pipeline_file} does not exist: the first task of the run writes it. Check that "
                "every pod mounts the same volume ([kubeflow] volume) at the same place."
            )
        with fileio.open(pipeline_file, "rb") as file:
            ir = pipeline_pb2.Pipeline.FromString(file.read())
        state = run_node(ir, node, metadata_url)
    except (NodeFailedError, MetadataError) as error:
        logging.exception(error)
        sys.exit(f"error: {error}")
    click.echo(f"{node}: {state}, {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
