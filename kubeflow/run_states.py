"""The states of a run and of its nodes, as the API tells them."""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import kfp
import kfp_server_api
import urllib3

from pipeline.runtime import ApiError

SUCCEEDED = "SUCCEEDED"
_PATIENCE = 5  # failed looks in a row: while the API restarts, the run goes on
FINAL = (SUCCEEDED, "FAILED", "SKIPPED", "CANCELED", "CACHED")
_COLOURS = {SUCCEEDED: "green", "FAILED": "red", "RUNNING": "yellow", "CANCELED": "red"}


def node_states(run: kfp_server_api.V2beta1Run) -> dict[str, str]:
    """Returns the state of each node that has one.

    Args:
        run: As the API returns it. Beside the nodes it lists the drivers and containers of
            Kubeflow itself, which are left out.

    Returns:
        State by name of the node, in the order in which they started.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    ours = [
        task
        for task in details
        if task.display_name
        and task.state
        and task.display_name not in ("root", "executor", run.display_name)
        and not task.display_name.endswith("-driver")
    ]
    ours.sort(key=lambda task: str(task.create_time or task.start_time or ""))
    return {task.display_name: task.state for task in ours}


def coloured(state: str) -> str:
    """The state in its colour, for a terminal."""
    return click.style(state, fg=_COLOURS.get(state))


def wait_for(
    client: kfp.Client,
    run_id: str,
    *,
    timeout: float,
    poll: float,
    now: Callable[[], float] = time.monotonic,
) -> str:
    """Prints each change of a node's state until the run ends.

    kfp's own `wait_for_run_completion` shows no nodes, goes on for ever after a run was cancelled,
    and ends at the first answer that fails.

    Args:
        client: See `kubeflow.api.connected`.
        run_id: Of the run.
        timeout: Seconds after which to give up; the run itself goes on.
        poll: Seconds between two looks.
        now: Clock, in seconds.

    Returns:
        The final state of the run.

    Raises:
        ApiError: The time is over.
        kfp_server_api.ApiException: The API answered with an error of the request, or five times
            in a row with an error of its own. `kubeflow.api.plain_errors` explains it.
        urllib3.exceptions.HTTPError: It could not be reached five times in a row; so OSError.
    """
    shown: dict[str, str] = {}
    started = now()
    failed = 0
    while True:
        try:
            run = client.get_run(run_id)
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            failed += 1
            if getattr(error, "status", 503) < 500 or failed == _PATIENCE:
                raise
            time.sleep(poll)
            continue
        failed = 0
        for node, state in node_states(run).items():
            if shown.get(node) != state:
                shown[node] = state
                click.echo(f"{now() - started:6.0f} s  {node}: {coloured(state)}")
        if run.state in FINAL:
            return run.state
        if now() - started > timeout:
            raise ApiError(
                f"Run {run_id} is still {run.state} after {timeout:.0f} s and goes on; look again "
                f"with `status {run_id}`."
            )
        time.sleep(poll)
