"""Commands that deploy a pipeline, run it and look at its runs."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import click

from kubeflow.options import connection_options, given_parameters, parameter_options
from pipeline.runtime import ConfigError, ExitCode


@click.command()
@click.argument("package", type=click.Path(exists=True, dir_okay=False))
@click.option("--version", help="Name of the version; default: a hash of the package.")
@connection_options
def deploy(package: str, version: str | None, **connection: Any) -> None:
    """Upload PACKAGE, which `compile` wrote, as a pipeline or as a new version of it.

    Schedules go on with the version they were made with; see `schedule create --replace`.
    """
    from kubeflow.api import connected, list_versions
    from kubeflow.spec import parse_yaml

    text = Path(package).read_text(encoding="utf-8")
    try:
        name = parse_yaml(text)[0].pipeline_info.name
    except ValueError as error:
        raise ConfigError(f"{package}: {error}") from error
    version = version or hashlib.sha256(text.encode()).hexdigest()[:12]
    with connected(**connection) as client:
        found = client.get_pipeline_id(name)
        if found is None:
            # Makes a first version of its own, which has the pipeline's name.
            found = client.upload_pipeline(package, pipeline_name=name).pipeline_id
        if version in {known.display_name for known in list_versions(client, found)}:
            click.echo(f"The version {version} of {name} is deployed already.")
            return
        client.upload_pipeline_version(package, version, pipeline_id=found)
    click.echo(f"Deployed the version {version} of {name}.")


@click.command()
@click.argument("pipeline")
@click.option("--version", help="Name of the version; default: the newest.")
@click.option("--experiment", help="Groups runs in Kubeflow; default: the pipeline's name.")
@click.option("--name", help="Name of the run; default: the pipeline's name.")
@click.option("--service-account", help="Kubernetes service account of the pods.")
@click.option("--wait", is_flag=True, help="Show the nodes' states until the run ends.")
@click.option("--timeout", default=86_400.0, show_default=True, help="Seconds to wait at most.")
@click.option("--poll", default=5.0, show_default=True, help="Seconds between two looks.")
@parameter_options
@connection_options
def run(
    pipeline: str,
    version: str | None,
    experiment: str | None,
    name: str | None,
    service_account: str | None,
    wait: bool,
    timeout: float,
    poll: float,
    **options: Any,
) -> None:
    """Start a run of PIPELINE; with --wait the exit code says whether it succeeded.

    Parameters that are not given keep the values of the deployed version.
    """
    from kubeflow.api import connected, pipeline_id, version_id
    from kubeflow.run_states import SUCCEEDED, coloured, wait_for

    parameters = given_parameters(options)
    with connected(**options) as client:
        found = pipeline_id(client, pipeline)
        started = client.run_pipeline(
            client.create_experiment(experiment or pipeline).experiment_id,
            name or pipeline,
            params=parameters,
            pipeline_id=found,
            version_id=version_id(client, found, version),
            service_account=service_account,
        )
        click.echo(f"Started run {started.run_id} of {pipeline}.")
        if not wait:
            return
        state = wait_for(client, started.run_id, timeout=timeout, poll=poll)
    click.echo(f"Run {started.run_id}: {coloured(state)}")
    if state != SUCCEEDED:
        sys.exit(ExitCode.FAILED)


@click.command()
@click.argument("run_id", required=False)
@click.option("--limit", default=10, show_default=True, help="How many of the latest runs.")
@connection_options
def status(run_id: str | None, limit: int, **connection: Any) -> None:
    """Show the latest runs, or the nodes of RUN_ID."""
    from kubeflow.api import connected
    from kubeflow.run_states import coloured, node_states

    with connected(**connection) as client:
        if run_id is None:
            found = client.list_runs(page_size=limit, sort_by="created_at desc").runs
            for one in found or []:
                click.echo(f"{one.run_id}  {one.created_at}  {one.display_name}: "
                           f"{coloured(one.state or 'PENDING')}")  # fmt: skip
            if not found:
                click.echo("No runs yet.")
            return
        one = client.get_run(run_id)
    click.echo(f"{one.display_name}: {coloured(one.state or 'PENDING')}")
    for node, state in node_states(one).items():
        click.echo(f"  {node}: {coloured(state)}")
