"""The states of a run and of its nodes, as the API tells them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import click
import kfp
import kfp_server_api
import urllib3

from pipeline.runtime import ApiError

SUCCEEDED = "SUCCEEDED"
_PATIENCE = 5  # failed looks in a row: while the API restarts, the run goes on
FINAL = (SUCCEEDED, "FAILED", "SKIPPED", "CANCELED", "CACHED")
GOING_ON = ("PENDING", "RUNNING", "PAUSED", "CANCELING")
_COLOURS = {SUCCEEDED: "green", "FAILED": "red", "RUNNING": "yellow", "CANCELED": "red"}


class NodeState(NamedTuple):
    """What the API tells of a node: its state, the seconds that it took, and why it failed."""

    state: str
    seconds: float | None
    error: str


def task_names(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> dict[str, str]:
    """The name of each task of a run's pipeline, as in a local run, by the names that KFP gives it.

    Returns:
        In the order of the pipeline; empty if the version is gone.
    """
    reference = run.pipeline_version_reference
    if reference is None:
        return {}
    try:
        version = client.get_pipeline_version(reference.pipeline_id, reference.pipeline_version_id)
    except kfp_server_api.ApiException as error:
        if error.status == 404:
            return {}
        raise
    spec = version.pipeline_spec or {}
    tasks = spec.get("pipeline_spec", spec).get("root", {}).get("dag", {}).get("tasks", {})
    given = {key: task.get("taskInfo", {}).get("name", key) for key, task in tasks.items()}
    # A pod of several nodes has all their ids in its name, see `kubeflow.sharing.Pod`.
    names = {name: name.replace("-", ", ") for name in given.values()}
    return {key: names[name] for key, name in given.items()} | names


def node_states(run: kfp_server_api.V2beta1Run, names: Mapping[str, str]) -> dict[str, NodeState]:
    """Returns the state of each node that has one.

    Args:
        run: As the API returns it. Beside the nodes it lists the drivers and containers of
            Kubeflow itself and the workflow, which are left out.
        names: See `task_names`; without them what looks like Kubeflow's own is left out.

    Returns:
        State by name of the node, in the order in which they started.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    places = {name: place for place, name in enumerate(names)}
    found = []
    for task in details:
        name = re.sub(r"\(\d+\)$", "", task.display_name or "")
        if name not in names if names else _is_kubeflows_own(name, run.display_name):
            continue
        name = names.get(name, name)
        if task.state:
            start = task.start_time or task.create_time
            found.append((str(start or "~"), places.get(name, 0), name, task))
    found.sort(key=lambda one: one[:3])
    return {name: _node_state(task) for _, _, name, task in found}


def _is_kubeflows_own(name: str, run_name: str) -> bool:
    return name in ("", "root", "executor", run_name) or name.endswith("-driver")


def _node_state(task: kfp_server_api.V2beta1PipelineTaskDetail) -> NodeState:
    times = task.start_time, task.end_time
    seconds = (times[1] - times[0]).total_seconds() if all(times) else None
    return NodeState(task.state, seconds, (task.error and task.error.message) or "")


def line_of(node: str, state: NodeState) -> str:
    """One line for a terminal: `Trainer: SUCCEEDED, 318 s`."""
    seconds = f", {state.seconds:.0f} s" if state.seconds is not None else ""
    error = f": {state.error}" if state.error else ""
    return f"{node}: {coloured(state.state)}{seconds}{error}"


def where_to_look(run_id: str, nodes: Mapping[str, NodeState], namespace: str) -> str | None:
    """What shows the reason of a failure, which the API does not know; None if no node failed."""
    if not any(state.state == "FAILED" for state in nodes.values()):
        return None
    return (
        "Why a node failed is in its log (and where the metadata database is reached, in "
        "`python -m pipeline summary --kubeflow`):\n"
        f"  kubectl logs -n {namespace} -l pipeline/runid={run_id} -c main --prefix --tail=30"
    )


def coloured(state: str) -> str:
    """The state in its colour, for a terminal."""
    return click.style(state, fg=_COLOURS.get(state))


def wait_for(
    client: kfp.Client,
    run_id: str,
    *,
    timeout: float,
    poll: float,
    namespace: str,
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
        namespace: Of the pods, for advice.
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
    names: dict[str, str] = {}
    started = now()
    failed = 0
    while True:
        try:
            run = client.get_run(run_id)
            names = names or task_names(client, run)
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            failed += 1
            if getattr(error, "status", 503) < 500 or failed == _PATIENCE:
                raise
            time.sleep(poll)
            continue
        failed = 0
        nodes = node_states(run, names)
        for node, state in nodes.items():
            if shown.get(node) != state.state:
                shown[node] = state.state
                click.echo(f"{now() - started:6.0f} s  {line_of(node, state)}")
        if run.state in FINAL:
            if advice := where_to_look(run_id, nodes, namespace):
                click.echo(advice)
            return run.state
        if now() - started > timeout:
            raise ApiError(
                f"Run {run_id} is still {run.state} after {timeout:.0f} s and goes on; look again "
                f"with `status {run_id}`."
            )
        time.sleep(poll)
