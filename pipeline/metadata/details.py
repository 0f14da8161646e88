"""The latest run in detail: its nodes, and what its artifacts say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from ml_metadata.proto import metadata_store_pb2 as proto
from pydantic import ValidationError

from components.metadata import (
    BLESSED,
    ERROR,
    PUSHED,
    NodeExecution,
    PipelineRun,
    plain_values,
    serving_files,
)
from modules.compatibility import read_churn, read_compatibility
from modules.export import TFLiteReport, extra_assets, read_tflite_report
from modules.gate import read_report, report_path
from modules.report import report_page
from pipeline.metadata.run_summary import Evaluation, NodeRun, Run
from pipeline.metadata.training_files import TrainingFiles, read_training_files
from pipeline.runtime import quiet_imports

T = TypeVar("T")

# The others are called as ML Metadata calls them.
_STATES = {proto.Execution.COMPLETE: "run", proto.Execution.CANCELED: "killed"}


def read_details(pipeline: str, run: PipelineRun, *, goes_on: bool) -> Run:
    """Reads the nodes of a run, and the files of its artifacts that say what it came to.

    Args:
        pipeline: Name of the pipeline.
        run: As the metadata have it.
        goes_on: Whether a process works on it; else a node without an end was killed.
    """
    nodes = [_node_run(node, goes_on=goes_on) for node in run.nodes.values()]
    problems: list[str] = []
    evaluation: Evaluation | None = None
    report: TFLiteReport | None = None
    training: TrainingFiles | None = None
    evaluated, model, logs = (
        str(run.first(key).get("uri", "")) for key in ("evaluation", "model", "model_run")
    )
    # Object stores are read with TensorFlow.
    with quiet_imports() if "://" in evaluated + model + logs else contextlib.nullcontext():
        if evaluated:
            evaluation = _readable(lambda: _evaluation(run, evaluated), problems)
        if model:
            folder = extra_assets(serving_files(model))
            report = _readable(lambda: read_tflite_report(folder), problems)
        if logs:
            training = _readable(lambda: read_training_files(logs), problems)
    return Run(
        pipeline=pipeline,
        run_id=run.run_id,
        nodes=nodes,
        evaluation=evaluation,
        pushed_to=_pushed_to(nodes),
        training_logs=logs or None,
        report=report_path_of(run),
        tflite=report.model_dump(mode="json") if report else None,
        choices=training.choices if training else {},
        advice=training.advice if training else [],
        resumed_at=training.resumed_at if training else [],
        problems=problems,
    )


def report_path_of(run: PipelineRun) -> str | None:
    """Where the page of a run's report lies; None without one."""
    uri = run.first("report").get("uri")
    return report_page(str(uri)) if uri else None


def _node_run(node: NodeExecution, *, goes_on: bool) -> NodeRun:
    execution = node.execution
    state = execution.last_known_state
    duration = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    error = plain_values(execution).get(ERROR)
    if state == proto.Execution.RUNNING and not goes_on:
        state = proto.Execution.CANCELED
    return NodeRun(
        node=node.node,
        state=_STATES.get(state, proto.Execution.State.Name(state).lower()),
        seconds=duration / 1000,
        error=str(error) if error else None,
        outputs={key: artifacts[0] for key, artifacts in node.made.items()},
        uris={key: [str(a["uri"]) for a in artifacts] for key, artifacts in node.made.items()},
    )


def _evaluation(run: PipelineRun, uri: str) -> Evaluation:
    try:
        report = read_report(uri)
    except FileNotFoundError as error:
        raise OSError(f"There is no {report_path(uri)}") from error
    verdict = run.first("blessing").get(BLESSED)
    return Evaluation(
        report.metrics,
        None if verdict is None else verdict == 1,
        report.failures,
        report.intervals,
        report.operating_point,
        report.shift,
        read_compatibility(uri),
        read_churn(uri),
    )


def _readable(read: Callable[[], T], problems: list[str]) -> T | None:
    """What could be read; else None and one problem more."""
    try:
        return read()
    except (OSError, ValidationError) as error:
        problems.append(
            f"{error}. An older version of this project made it, or it is gone or out of reach. "
            "Run the pipeline again."
        )
        return None


def _pushed_to(nodes: list[NodeRun]) -> str | None:
    """The version folder that this run's Pusher wrote; None if cached or without a blessing."""
    for node in nodes:
        pushed = node.outputs.get("pushed_model", {})
        if pushed.get(PUSHED) == 1 and node.state == "run":
            return str(pushed.get("pushed_destination", "")) or None
    return None
