"""The states of a run and of its nodes, as the API tells them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
import kfp
import kfp_server_api
import urllib3

from kubeflow.api import ApiError

SUCCEEDED = "SUCCEEDED"
_PATIENCE = 5  # failed looks in a row: the API may be restarting, the run does not mind
FINAL = (SUCCEEDED, "FAILED", "SKIPPED", "CANCELED", "CACHED")
_COLOURS = {SUCCEEDED: "green", "FAILED": "red", "RUNNING": "yellow", "CANCELED": "red"}


def node_states(run: Any) -> dict[str, str]:
    """Returns the state of each task that has one.

    Args:
        run: A V2beta1Run. Beside our tasks it lists Kubeflow's own drivers and containers.

    Returns:
        State by name of the task, in the order they started.
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

    Args:
        client: See `kubeflow.api.connect`.
        run_id: Of the run.
        timeout: Seconds after which to give up; the run itself goes on.
        poll: Seconds between two looks.
        now: Clock, in seconds.

    Returns:
        The final state of the run.

    Raises:
        ApiError: The time is over.
        kfp_server_api.ApiException: The API refused, or was not there five times in a row; so
            urllib3.exceptions.HTTPError and OSError.
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
