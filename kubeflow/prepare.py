"""What the first pod of a run does: it compiles the pipeline with the parameters of the run."""

from __future__ import annotations

import sys
from typing import Any

import click

from kubeflow.cluster_config import configured_run
from kubeflow.options import JsonObject
from pipeline.metadata import connect_store
from pipeline.runtime import PipelineError


@click.command()
@click.option("--config", "values", type=JsonObject(), required=True, help="The configuration.")
@click.option("--directory", required=True, help="[kubeflow] directory.")
@click.option("--data-path", required=True, help="[data] path.")
@click.option("--train-steps", type=click.IntRange(1), required=True, help="[training] steps.")
@click.option("--seed", type=int, required=True, help="Every seed; -1 keeps the configured ones.")
@click.option("--thresholds", type=JsonObject(), required=True, help="[evaluation.thresholds].")
@click.option("--settings", type=JsonObject(), required=True, help="Further keys, by table.")
@click.option("--nodes", type=JsonObject(), required=True, help="Nodes and what they wait for.")
@click.option("--runs", required=True, help="Folder in which the nodes look for the pipeline.")
@click.option("--run-id", required=True, help="Identifies the run in the metadata database.")
@click.option("--metadata", "metadata_url", required=True, help="URL of the metadata database.")
def main(
    values: dict[str, Any],
    directory: str,
    nodes: dict[str, list[str]],
    runs: str,
    run_id: str,
    metadata_url: str,
    **parameters: Any,
) -> None:
    """Compile the pipeline of one run and make sure that the metadata database is there."""
    try:
        config = configured_run(values, directory, **parameters)
        connect_store(metadata_url)
    except PipelineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    from kubeflow.ir import compile_ir, dag, for_run, write_file

    ir = compile_ir(config)
    if dag(ir) != nodes:
        sys.exit(
            f"error: this image builds the nodes {dag(ir)}, but the pipeline was compiled with "
            f"{nodes}. The image and the pipeline come from different versions, or a setting "
            "changed the chain: compile and deploy the pipeline again, with the image's tag."
        )
    pipeline_file = f"{runs}/{run_id}.pb"
    write_file(pipeline_file, for_run(ir, run_id).SerializeToString(deterministic=True))
    click.echo(f"{config.pipeline.name}: {len(nodes)} nodes in {pipeline_file}")


if __name__ == "__main__":
    main()
