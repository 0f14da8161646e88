"""Commands for recurring runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kubeflow.options import Cron, connection_options, given_parameters, parameter_options
from pipeline.runtime import ApiError

if TYPE_CHECKING:
    import kfp


@click.group()
def schedule() -> None:
    """Make, list, pause, resume and delete recurring runs."""


@schedule.command()
@click.argument("pipeline")
@click.option("--name", required=True, help="Of the schedule; no two have the same.")
@click.option("--cron", type=Cron(), help="Six fields, seconds first: '0 0 3 * * *' is 3:00 UTC.")
@click.option("--every", type=click.IntRange(1), help="Seconds between two runs.")
@click.option("--version", help="Name of the pipeline's version; default: the newest.")
@click.option("--experiment", help="Groups runs in Kubeflow; default: the pipeline's name.")
@click.option(
    "--max-concurrency",
    type=click.IntRange(1, 10),
    default=1,
    show_default=True,
    help="Runs of this schedule at once.",
)
@click.option("--catch-up", is_flag=True, help="Make up for runs missed while paused, one by one.")
@click.option("--start", help="Not before this time, RFC 3339: 2027-01-31T00:00:00Z.")
@click.option("--end", help="Not after this time, RFC 3339.")
@click.option("--replace", is_flag=True, help="Delete the schedule that has this name now.")
@click.option("--service-account", help="Kubernetes service account of the pods.")
@parameter_options
@connection_options
def create(
    pipeline: str,
    name: str,
    cron: str | None,
    every: int | None,
    version: str | None,
    experiment: str | None,
    max_concurrency: int,
    catch_up: bool,
    start: str | None,
    end: str | None,
    replace: bool,
    service_account: str | None,
    **options: Any,
) -> None:
    """Run a version of PIPELINE again and again, by --cron or --every."""
    if (cron is None) == (every is None):
        raise click.UsageError("Give either --cron or --every.")
    from kubeflow.api import connected, list_schedules, pipeline_id, version_id

    parameters = given_parameters(options)
    with connected(**options) as client:
        old = [one for one in list_schedules(client) if one.display_name == name]
        if old and not replace:
            raise ApiError(f"There is a schedule {name!r}; add --replace or take another name.")
        found = pipeline_id(client, pipeline)
        made = client.create_recurring_run(
            client.create_experiment(experiment or pipeline).experiment_id,
            name,
            cron_expression=cron,
            interval_second=every,
            start_time=start,
            end_time=end,
            max_concurrency=max_concurrency,
            no_catchup=not catch_up,
            params=parameters,
            pipeline_id=found,
            version_id=version_id(client, found, version),
            service_account=service_account,
        )
        for one in old:  # afterwards, so that a failure leaves the old one
            client.delete_recurring_run(one.recurring_run_id)
    click.echo(f"Schedule {name} ({made.recurring_run_id}) runs {pipeline} "
               f"{f'at {cron!r}' if cron else f'every {every} s'}.")  # fmt: skip


@schedule.command("list")
@connection_options
def list_command(**connection: Any) -> None:
    """List all schedules."""
    from kubeflow.api import connected, list_schedules

    with connected(**connection) as client:
        found = list(list_schedules(client))
    for one in found:
        trigger = one.trigger
        when = "?"
        if trigger and trigger.cron_schedule:
            when = f"cron {trigger.cron_schedule.cron!r}"
        elif trigger and trigger.periodic_schedule:
            when = f"every {trigger.periodic_schedule.interval_second} s"
        state = "on" if one.status == "ENABLED" else "paused"
        click.echo(f"{one.recurring_run_id}  {one.display_name}: {when}, {state}")
    if not found:
        click.echo("No schedules.")


@schedule.command()
@click.argument("name")
@connection_options
def pause(name: str, **connection: Any) -> None:
    """Start no more runs of the schedule NAME until it is resumed."""
    _change(name, connection, lambda client: client.disable_recurring_run, "paused")


@schedule.command()
@click.argument("name")
@connection_options
def resume(name: str, **connection: Any) -> None:
    """Go on with the schedule NAME."""
    _change(name, connection, lambda client: client.enable_recurring_run, "resumed")


@schedule.command()
@click.argument("name")
@connection_options
def delete(name: str, **connection: Any) -> None:
    """Delete the schedule NAME; its runs stay."""
    _change(name, connection, lambda client: client.delete_recurring_run, "deleted")


def _change(
    name: str,
    connection: dict[str, Any],
    method: Callable[[kfp.Client], Callable[[str], object]],
    done: str,
) -> None:
    """Does to each schedule of this name what a method of the client does to an id."""
    from kubeflow.api import connected, list_schedules

    with connected(**connection) as client:
        known = list(list_schedules(client))
        found = [one for one in known if name in (one.display_name, one.recurring_run_id)]
        if not found:
            names = ", ".join(sorted(one.display_name for one in known)) or "none"
            raise ApiError(f"There is no schedule {name!r}; there are: {names}.")
        for one in found:
            method(client)(one.recurring_run_id)
    click.echo(f"Schedule {name} is {done}.")
