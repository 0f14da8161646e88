"""Commands for recurring runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kubeflow.options import Cron, connection_options, given_parameters, parameter_options
from pipeline.runtime import ApiError

if TYPE_CHECKING:
    import kfp
    import kfp_server_api

F = TypeVar("F", bound=Callable[..., Any])


def _ending_options(command: F) -> F:
    """Adds --wait and --force, of commands that end a schedule."""
    for option in (
        click.option("--force", is_flag=True, help="Destroy a run that goes on."),
        click.option("--wait", default=0.0, help="Seconds to wait for a run that goes on."),
    ):
        command = option(command)
    return command


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
@_ending_options
@click.option(
    "--service-account",
    envvar="KFP_SERVICE_ACCOUNT",
    show_envvar=True,
    help="Kubernetes service account of the pods.",
)
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
    wait: float,
    force: bool,
    service_account: str | None,
    **options: Any,
) -> None:
    """Run a version of PIPELINE again and again, by --cron or --every.

    With --replace the old schedule goes as by `schedule delete`, which see.
    """
    if (cron is None) == (every is None):
        raise click.UsageError("Give either --cron or --every.")
    from kubeflow.api import connected, list_schedules, pipeline_id, version_id

    parameters = given_parameters(options)
    with connected(**options) as client:
        old = [one for one in list_schedules(client) if one.display_name == name]
        if old and not replace:
            raise ApiError(f"There is a schedule {name!r}; add --replace or take another name.")
        found = pipeline_id(client, pipeline)
        version_found = version_id(client, found, version)  # first: what is wrong makes nothing
        with _stopped(client, old, wait=wait, force=force):
            made = client.create_recurring_run(
                client.create_experiment(experiment or pipeline).experiment_id,
                name,
                description=client.get_pipeline_version(found, version_found).description,
                cron_expression=cron,
                interval_second=every,
                start_time=start,
                end_time=end,
                max_concurrency=max_concurrency,
                no_catchup=not catch_up,
                params=parameters,
                pipeline_id=found,
                version_id=version_found,
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
@_ending_options
@connection_options
def delete(name: str, wait: float, force: bool, **connection: Any) -> None:
    """Delete the schedule NAME; its runs stay in the list.

    Kubernetes removes the workflows of a schedule with it: what is left of a run is what the list
    and the metadata know, and a run that goes on would be destroyed. So it is waited for, or the
    schedule stays.
    """
    from kubeflow.api import connected

    with connected(**connection) as client:
        found = _named(client, name)
        with _stopped(client, found, wait=wait, force=force):
            for one in found:
                client.delete_recurring_run(one.recurring_run_id)
    click.echo(f"Schedule {name} is deleted.")


@contextlib.contextmanager
def _stopped(
    client: kfp.Client,
    schedules: Sequence[kfp_server_api.V2beta1RecurringRun],
    *,
    wait: float,
    force: bool,
) -> Iterator[None]:
    """Starts no more runs of schedules, which are about to go, and sees to it that none goes on.

    What fails, here or inside, leaves the schedules as they were.

    Raises:
        ApiError: A run of theirs still goes on.
    """
    paused = [one.recurring_run_id for one in schedules if one.status == "ENABLED"]
    try:
        for number in paused:
            client.disable_recurring_run(number)
        if not force:
            _wait_for_runs(client, {one.recurring_run_id for one in schedules}, wait)
        yield
    except BaseException:
        for number in paused:
            client.enable_recurring_run(number)
        raise


def _wait_for_runs(client: kfp.Client, schedules: set[str], seconds: float) -> None:
    from kubeflow.api import list_runs
    from kubeflow.run_states import GOING_ON

    deadline = time.monotonic() + seconds
    while schedules:
        active = [
            run.run_id
            for run in list_runs(client)
            if run.recurring_run_id in schedules and (run.state or "PENDING") in GOING_ON
        ]
        if not active:
            return
        if time.monotonic() > deadline:
            raise ApiError(
                f"The run {active[0]} of this schedule goes on, and would be destroyed with it. "
                f"Let --wait be longer, end it with `cancel {active[0]}`, or add --force: then its "
                "pods are killed and it is listed as RUNNING for ever."
            )
        time.sleep(min(5.0, max(0.0, deadline - time.monotonic()) + 0.01))


def _named(client: kfp.Client, name: str) -> list[kfp_server_api.V2beta1RecurringRun]:
    """The schedules of this name, or of this id.

    Raises:
        ApiError: There are none.
    """
    from kubeflow.api import list_schedules

    known = list(list_schedules(client))
    found = [one for one in known if name in (one.display_name, one.recurring_run_id)]
    if not found:
        names = ", ".join(sorted(one.display_name for one in known)) or "none"
        raise ApiError(f"There is no schedule {name!r}; there are: {names}.")
    return found


def _change(
    name: str,
    connection: dict[str, Any],
    method: Callable[[kfp.Client], Callable[[str], object]],
    done: str,
) -> None:
    """Does to each schedule of this name what a method of the client does to an id."""
    from kubeflow.api import connected

    with connected(**connection) as client:
        for one in _named(client, name):
            method(client)(one.recurring_run_id)
    click.echo(f"Schedule {name} is {done}.")
