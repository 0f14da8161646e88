"""What the first pod of a run does: it compiles the pipeline with the parameters of the run."""

from __future__ import annotations

import sys
from typing import Any

import click

from kubeflow.cluster_config import configured_run
from kubeflow.options import JsonObject
from pipeline.config import Config
from pipeline.metadata import connect_store
from pipeline.runtime import ConfigError, PipelineError, report, without_garbage_collection


@click.command()
@click.option("--config", "values", type=JsonObject(), required=True, help="The configuration.")
@click.option("--directory", required=True, help="[kubeflow] directory.")
@click.option("--data-path", required=True, help="[data] path.")
@click.option("--train-steps", type=click.IntRange(0), required=True, help="[training] steps.")
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
        pipeline_file = f"{runs}/{run_id}.pb"
        _compile(config, nodes, run_id, pipeline_file)
    except PipelineError as error:
        sys.exit(report(error))
    click.echo(f"{config.pipeline.name}: {len(nodes)} nodes in {pipeline_file}")


def _compile(config: Config, nodes: dict[str, list[str]], run_id: str, pipeline_file: str) -> None:
    with without_garbage_collection():
        from kubeflow.ir import compile_ir, dag, for_run
        from modules.storage import write_file
    ir = compile_ir(config)
    if dag(ir) != nodes:
        raise ConfigError(
            f"this image builds the nodes {dag(ir)}, but the pipeline was compiled with {nodes}. "
            "The image and the pipeline come from different versions, or a setting changed the "
            "chain: compile and deploy the pipeline again, with the image's tag."
        )
    write_file(pipeline_file, for_run(ir, run_id).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
