"""The same run on this machine, against the metadata database of the cluster."""

from __future__ import annotations

import uuid
from typing import Any

import click

from kubeflow.options import given_parameters, parameter_options


@click.command()
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option("--run-id", help="Of a run to take up again; default: a new one.")
@parameter_options
def local(config_name: str | None, run_id: str | None, **options: Any) -> None:
    """Run all nodes one after the other in this process, without Kubeflow.

    Takes the paths and the metadata database of [kubeflow], so that this machine must see both; the
    user and password come from METADATA_USERNAME and METADATA_PASSWORD. Models, blessings and the
    cache are then the same as those of the runs in the cluster.
    """
    from kubeflow.cluster_config import configured_run, default_parameters
    from pipeline.config import cluster_values, load_config
    from pipeline.metadata import connect_store
    from pipeline.runtime import NodeProgress, quiet_imports

    config = load_config(config_name)
    values = cluster_values(config)
    parameters = default_parameters(values) | given_parameters(options)
    run_config = configured_run(values, config.kubeflow.directory, **parameters)
    connect_store(config.kubeflow.metadata)  # before the seconds that TFX takes to load
    with quiet_imports():
        from kubeflow.ir import compile_ir, dag, for_run
        from kubeflow.metadata_handle import ClusterMetadata
        from pipeline.launch import launch_node
    ir = for_run(compile_ir(run_config), run_id or str(uuid.uuid4()))
    connection = ClusterMetadata(config.kubeflow.metadata)
    nodes = list(dag(ir))
    progress = NodeProgress(len(nodes))
    for node in nodes:
        with progress.of(node) as shown:
            shown.outcome = launch_node(ir, node, connection).outcome
