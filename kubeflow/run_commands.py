"""Commands that deploy a pipeline, run it and look at its runs."""

from __future__ import annotations

import datetime
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
        described = parse_yaml(text)[0].pipeline_info
    except ValueError as error:
        raise ConfigError(f"{package}: {error}") from error
    name, description = described.name, described.description
    version = version or hashlib.sha256(text.encode()).hexdigest()[:12]
    with connected(**connection) as client:
        found = client.get_pipeline_id(name)
        first = found is None
        if found is None:
            found = client.upload_pipeline(
                package, pipeline_name=name, description=f"The pipeline {name} of TFX nodes."
            ).pipeline_id
            # Made by Kubeflow, with the pipeline's name; ours comes in its place.
            made = [known.pipeline_version_id for known in list_versions(client, found)]
        if not first and version in {known.display_name for known in list_versions(client, found)}:
            click.echo(f"The version {version} of {name} is deployed already.")
            return
        client.upload_pipeline_version(package, version, pipeline_id=found, description=description)
        if first:
            for known in made:
                client.delete_pipeline_version(found, known)
    click.echo(f"Deployed the version {version} of {name}.")


@click.command()
@click.argument("pipeline")
@click.option("--version", help="Name of the version; default: the newest.")
@click.option("--experiment", help="Groups runs in Kubeflow; default: the pipeline's name.")
@click.option("--name", help="Name of the run; default: the pipeline's, and the time in UTC.")
@click.option(
    "--service-account",
    envvar="KFP_SERVICE_ACCOUNT",
    show_envvar=True,
    help="Kubernetes service account of the pods.",
)
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
        version_found = version_id(client, found, version)  # first: what is wrong makes nothing
        started = client.run_pipeline(
            client.create_experiment(experiment or pipeline).experiment_id,
            name or f"{pipeline}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
            params=parameters,
            pipeline_id=found,
            version_id=version_found,
            service_account=service_account,
        )
        click.echo(f"Started run {started.run_id} of {pipeline}.")
        if not wait:
            return
        namespace = options["namespace"]
        state = wait_for(client, started.run_id, timeout=timeout, poll=poll, namespace=namespace)
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
    from kubeflow.run_states import coloured, line_of, node_states, task_names, where_to_look

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
        nodes = node_states(one, task_names(client, one))
    click.echo(f"{one.display_name}: {coloured(one.state or 'PENDING')}")
    for node, state in nodes.items():
        click.echo(f"  {line_of(node, state)}")
    if advice := where_to_look(run_id, nodes, connection["namespace"]):
        click.echo(advice)


@click.command()
@click.argument("run_id")
@connection_options
def cancel(run_id: str, **connection: Any) -> None:
    """End RUN_ID: its pods are stopped, and no node of it starts any more."""
    from kubeflow.api import connected
    from kubeflow.run_states import GOING_ON

    with connected(**connection) as client:
        state = client.get_run(run_id).state or "PENDING"
        if state not in GOING_ON:
            click.echo(f"Run {run_id} has ended already: {state}.")
            return
        client.terminate_run(run_id)
    click.echo(f"Run {run_id} is being ended.")
