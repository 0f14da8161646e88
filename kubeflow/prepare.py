"""What the first pod of a run does: it compiles the pipeline and takes from the cache what it can.

A pod costs more than a look into the cache. So every node that comes from it is done here, and the
others hear whether anything is left: without news the run ends here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeflow.cluster_config import configured_run
from kubeflow.group_access import UMASK, open_made, open_to_group
from kubeflow.options import JsonObject
from kubeflow.retrying import patiently
from kubeflow.workers import check_workers
from pipeline.config import Config
from pipeline.features import check_features
from pipeline.metadata import connect_store
from pipeline.runtime import ConfigError, PipelineError, report, without_garbage_collection

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2


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
@click.option("--retries", type=click.IntRange(0), default=0, help="When what failed may pass.")
@click.option("--news", "news_file", type=click.Path(path_type=Path), help="Gets true or false.")
def main(
    values: dict[str, Any],
    directory: str,
    nodes: dict[str, list[str]],
    runs: str,
    run_id: str,
    metadata_url: str,
    retries: int,
    news_file: Path | None,
    **parameters: Any,
) -> None:
    """Compile the pipeline of one run and do what needs no more than the cache."""
    os.umask(UMASK)
    try:
        config = configured_run(values, directory, **parameters)
        check_workers(config, values)
        check_features(config)
        connect_store(metadata_url)
        pipeline_file = f"{runs}/{run_id}.pb"
        ir = _compile(config, nodes, run_id)
        patiently("Writing the pipeline", lambda: _write(ir, pipeline_file), retries)
        open_to_group(runs, directory, depth=0)
        done = patiently("The cache", lambda: _from_cache(ir, nodes, metadata_url), retries)
    except PipelineError as error:
        sys.exit(report(error))
    if news_file:
        news_file.parent.mkdir(parents=True, exist_ok=True)
        news_file.write_text("true" if len(done) < len(nodes) else "false")
    left = [node for node in nodes if node not in done]
    click.echo(
        f"{config.pipeline.name}: {len(done)} of {len(nodes)} nodes are done; left: "
        f"{', '.join(left) or 'none, so the run ends here'}"
    )


def _compile(config: Config, nodes: dict[str, list[str]], run_id: str) -> pipeline_pb2.Pipeline:
    with without_garbage_collection():
        from kubeflow.ir import compile_ir, dag, for_run
    ir = compile_ir(config)
    if dag(ir) != nodes:
        raise ConfigError(
            f"this image builds the nodes {dag(ir)}, but the pipeline was compiled with {nodes}. "
            "The image and the pipeline come from different versions, or a setting changed the "
            "chain: compile and deploy the pipeline again, with the image's tag."
        )
    return for_run(ir, run_id)


def _write(ir: pipeline_pb2.Pipeline, pipeline_file: str) -> None:
    from modules.storage import write_file

    write_file(pipeline_file, ir.SerializeToString(deterministic=True))


def _from_cache(
    ir: pipeline_pb2.Pipeline, nodes: dict[str, list[str]], metadata_url: str
) -> set[str]:
    """Does the nodes that need no executor, as far as those before them are done; returns all."""
    from kubeflow.metadata_handle import ClusterMetadata
    from pipeline.launch import launch_from_cache

    connection = ClusterMetadata(metadata_url)
    done: set[str] = set()
    for node, upstream in nodes.items():
        if not done.issuperset(upstream):
            continue
        launched = launch_from_cache(ir, node, connection)
        open_made(ir, node, began=launched is None)
        if launched is not None:
            done.add(node)
            click.echo(f"{node}: {launched.outcome}, {launched.seconds:.1f} s")
    return done


if __name__ == "__main__":
    main()
