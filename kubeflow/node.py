"""What a pod runs: one node of a compiled pipeline."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import absl.logging
import click

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

    from kubeflow.metadata_handle import ClusterMetadata


class TerminatedError(Exception):
    """The pod was told to stop."""


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
    set_verbose()  # the log of a pod is all that is left of it
    pipeline_file = f"{runs}/{run_id}.pb"
    try:
        if not fileio.exists(pipeline_file):
            raise NodeFailedError(
                f"{pipeline_file} does not exist: the first task of the run writes it. Check that "
                "every pod mounts the same volume ([kubeflow] volume) at the same place."
            )
        with fileio.open(pipeline_file, "rb") as file:
            ir = pipeline_pb2.Pipeline.FromString(file.read())
        launched = launch_node(ir, node, ClusterMetadata(metadata_url))
    except PipelineError as error:
        sys.exit(report(error))
    click.echo(f"{node}: {launched.outcome}, {launched.seconds:.1f} s")


if __name__ == "__main__":
    main()
