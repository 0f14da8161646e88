"""What a pod runs: one node of a compiled pipeline, or several, one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import absl.logging
import click
from google.protobuf.message import DecodeError

from pipeline.runtime import (
    NodeFailedError,
    PipelineError,
    report,
    set_verbose,
    without_garbage_collection,
)

with without_garbage_collection():
    # First: it defers what TFX would load although few nodes need it.
    from pipeline.launch import launch_node  # isort: skip

    from tfx.dsl.io import fileio
    from tfx.proto.orchestration import pipeline_pb2

    from components.metadata import read_pipeline_run
    from kubeflow.group_access import UMASK, open_made
    from kubeflow.kfp_outputs import write_outputs
    from kubeflow.metadata_handle import ClusterMetadata
    from kubeflow.retrying import patiently
    from kubeflow.workers import JobStarter
    from modules.workers import use_starter

# Read by `modules.training.checkpoints`: runs at once never share the state of a training.
RUN_ID = "TRIPLET_RUN_ID"
# Kubernetes reads this file when a container ends, and shows it with the pod.
_TERMINATION_LOG = Path("/dev/termination-log")


class TerminatedError(Exception):
    """The pod was told to stop."""


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise TerminatedError(f"stopped by {signal.Signals(signal_number).name}")


@click.command()
@click.option("--runs", required=True, help="Folder in which `kubeflow.prepare` left the pipeline.")
@click.option("--run-id", required=True, help="Identifies the run in the metadata database.")
@click.option("--node", "nodes", required=True, multiple=True, help="Id of a node, in order.")
@click.option("--metadata", "metadata_url", required=True, help="URL of the metadata database.")
@click.option("--retries", type=click.IntRange(0), default=0, help="When what failed may pass.")
@click.option("--executor-input", help="Of Kubeflow, as JSON: the outputs that it waits for.")
@click.option("--workers-job", help="Of those that train beside the Trainer, as JSON.")
@click.option("--report", "report_path", help="Where Kubeflow takes the report from.")
def main(
    runs: str,
    run_id: str,
    nodes: Sequence[str],
    metadata_url: str,
    retries: int,
    executor_input: str | None,
    workers_job: str | None,
    report_path: str | None,
) -> None:
    """Run nodes of a compiled pipeline (the entrypoint of a pod)."""
    absl.logging.set_verbosity(absl.logging.INFO)
    signal.signal(signal.SIGTERM, _terminate)
    os.umask(UMASK)
    if workers_job:
        pod = os.environ.get("KFP_POD_NAME") or socket.gethostname()
        use_starter(JobStarter(json.loads(workers_job), run_id, pod))
    os.environ[RUN_ID] = run_id
    try:
        ir = patiently("Reading the pipeline", lambda: _read(f"{runs}/{run_id}.pb"), retries)
        connection = ClusterMetadata(metadata_url)
        for node in nodes:
            _run(ir, node, connection, retries)
        if executor_input:
            with connection as handle:
                run = read_pipeline_run(handle.store, ir.pipeline_info.id, run_id)
            try:
                write_outputs(executor_input, run, report_path)
            except OSError as error:  # the nodes are done all the same
                absl.logging.warning("Kubeflow's pages will not show what came of it: %s", error)
    except PipelineError as error:
        with contextlib.suppress(OSError):
            if _TERMINATION_LOG.exists():
                _TERMINATION_LOG.write_text(str(error)[:4000])  # Kubernetes takes 4,096 bytes
        sys.exit(report(error))


def _read(pipeline_file: str) -> pipeline_pb2.Pipeline:
    if not fileio.exists(pipeline_file):
        raise NodeFailedError(
            f"{pipeline_file} does not exist: the first task of the run writes it. Check that "
            "every pod mounts the same volume ([kubeflow] volume) at the same place."
        )
    with fileio.open(pipeline_file, "rb") as file:
        return _parsed(file.read(), pipeline_file)


def _run(ir: pipeline_pb2.Pipeline, node: str, connection: ClusterMetadata, retries: int) -> None:
    launched = None
    try:
        launched = patiently(node, lambda: launch_node(ir, node, connection), retries)
    finally:
        open_made(ir, node, began=launched is None or launched.outcome == "executed")
    click.echo(f"{node}: {launched.outcome}, {launched.seconds:.1f} s")


def _parsed(content: bytes, path: str) -> pipeline_pb2.Pipeline:
    try:
        return pipeline_pb2.Pipeline.FromString(content)
    except DecodeError as error:
        raise NodeFailedError(
            f"{path} is no compiled pipeline: it is damaged, or another program wrote it. Start "
            "the run anew, so that its first task writes it again."
        ) from error


if __name__ == "__main__":
    set_verbose()  # the log of a pod is all that is left of it
    main()
