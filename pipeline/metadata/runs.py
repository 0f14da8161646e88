"""Reads the runs of a pipeline."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import (
    BLESSED,
    DECISION_KEY,
    DECISION_NODE,
    DONE,
    ERROR,
    NO_DATA,
    PUSHED,
    REASON,
    TRAIN,
    UPDATE_LAST_NODE,
    UPDATE_NODE,
    VERSION,
    WHY,
    PipelineRun,
    Values,
    find_running,
    plain_values,
    read_pipeline_runs,
)
from modules.gate import CHANGE
from modules.retrieval import INTERVAL_LEVEL, lower_end, upper_end
from pipeline.config import Config
from pipeline.metadata.connection import open_store
from pipeline.metadata.details import read_details, report_path_of
from pipeline.metadata.run_state import RunState
from pipeline.metadata.run_summary import BASELINE, CANDIDATE, Run, RunSummary, local_time
from pipeline.runtime import NotRunError, is_locked

EXAMPLE_GENS = ("ImportExampleGen", "ImageExampleGen", "SheetExampleGen")
_DATA_NODES = (*EXAMPLE_GENS, "StatisticsGen", "ExampleValidator", "DataAudit", "GalleryExampleGen")
_LAST_NODE = "Pusher"
_PUSHING = (RunState.PUSHED, RunState.SKIPPED)  # the latter with an index of the served model
_INDEX_FACTS = (
    "images", "added", "kept", "removed", "kind", "storage", "recall", "recall_k", "latency_ms",
    "bytes", "instead", "model_fingerprint",
)  # fmt: skip


def read_runs(config: Config, *, lock_is_ours: bool = False) -> list[RunSummary]:
    """Reads the runs of a pipeline, oldest first.

    Args:
        config: The pipeline, here or in the cluster.
        lock_is_ours: The caller holds the lock, so a local run without an end does not go on.

    Returns:
        Nothing when the pipeline has not run.

    Raises:
        MetadataError: The database cannot be used.
    """
    try:
        store = open_store(config, readonly=True)
    except NotRunError:
        return []
    runs = read_pipeline_runs(store, config.pipeline.name)
    running = _running(config, store, runs, lock_is_ours=lock_is_ours)
    return _summaries(config, runs, running)


def read_latest(config: Config) -> tuple[Run, list[RunSummary]]:
    """Reads the latest run in detail, and all runs, oldest first, with this one.

    Raises:
        NotRunError: The pipeline has not run yet.
        MetadataError: The database cannot be used.
    """
    store = open_store(config, readonly=True)
    runs = read_pipeline_runs(store, config.pipeline.name)
    if not runs:
        raise NotRunError(f"Pipeline {config.pipeline.name!r} has not run yet.")
    running = _running(config, store, runs)
    details = read_details(config.pipeline.name, runs[-1], goes_on=runs[-1].run_id in running)
    return details, _summaries(config, runs, running)


def latest_run(config: Config) -> Run:
    """Reads the latest run; raises as `read_latest`."""
    return read_latest(config)[0]


def _running(
    config: Config,
    store: mlmd.MetadataStore,
    runs: list[PipelineRun],
    *,
    lock_is_ours: bool = False,
) -> set[str]:
    """Ids of the runs that go on."""
    if config.in_cluster:
        patience = config.retraining.hours_per_run * 3600
        return {run_id for run_id, _, _ in find_running(store, config.pipeline.name, patience)}
    if runs and not lock_is_ours and is_locked(config):
        return {runs[-1].run_id}
    return set()


def _summaries(config: Config, runs: list[PipelineRun], running: set[str]) -> list[RunSummary]:
    has_spans = config.data.has_spans  # without any, TFX calls it span 0
    return [_summary(run, goes_on=run.run_id in running, has_spans=has_spans) for run in runs]


def _summary(run: PipelineRun, *, goes_on: bool, has_spans: bool) -> RunSummary:
    blessing, evaluation = run.first("blessing"), run.first("evaluation")
    pushed = run.first("pushed_model")
    state, node = _state(run, goes_on=goes_on)
    executions = [one.execution for one in run.nodes.values()]
    started = min(e.create_time_since_epoch for e in executions)
    ended = max(e.last_update_time_since_epoch for e in executions)
    reason = blessing.get(REASON)
    if state.meaning.is_broken and node:
        reason = plain_values(run.nodes[node].execution).get(ERROR)
    decision = run.first(DECISION_KEY).get(WHY)
    if state is RunState.SKIPPED:
        reason = decision
    trainer = run.nodes.get("Trainer")
    trained = trainer and trainer.execution.last_known_state == proto.Execution.COMPLETE
    return RunSummary(
        run_id=run.run_id,
        started=local_time(started),
        seconds=(ended - started) / 1000,
        state=state,
        node=node,
        span=_span_fact(run, "span") if has_spans else None,
        span_version=_span_fact(run, "version") if has_spans else None,
        window=_window(run) if has_spans else (),
        images=_count(run.first("examples"), "images"),
        triplets=_count(run.first("triplets"), "triplets"),
        metrics=_main_metrics(evaluation),
        intervals=_intervals(evaluation),
        interval_level=_figure(evaluation, f"{CHANGE} {INTERVAL_LEVEL}"),
        evaluation=str(evaluation["uri"]) if evaluation else None,
        report=report_path_of(run),
        blessed=bool(blessing[BLESSED]) if BLESSED in blessing else None,
        reason=None if reason is None else str(reason),
        version=str(pushed[VERSION]) if state in _PUSHING and pushed.get(PUSHED) == 1 else None,
        trained=bool(trained),
        training_seconds=_seconds(trainer.execution) if trainer and trained else None,
        decision=None if decision is None else str(decision),
        verdict=str(evaluation["verdict"]) if "verdict" in evaluation else None,
        changed_results=_figure(evaluation, "changed results"),
        index=_index(run.first("index")),
    )


def _state(run: PipelineRun, *, goes_on: bool) -> tuple[RunState, str | None]:
    """What became of a run, and the node that stopped it."""
    states = {name: one.execution.last_known_state for name, one in run.nodes.items()}
    for node, state in states.items():
        if state == proto.Execution.FAILED:
            if plain_values(run.nodes[node].execution).get(NO_DATA):
                return RunState.NO_DATA, node
            return (RunState.DATA_REJECTED if node in _DATA_NODES else RunState.FAILED), node
    stopped = next((node for node, state in states.items() if state not in DONE), None)
    updates = UPDATE_NODE in states and UPDATE_LAST_NODE not in states  # it is at that
    if not (stopped or updates) and run.first(DECISION_KEY).get(TRAIN) == 0:
        done = {states[DECISION_NODE], states.get(UPDATE_LAST_NODE)}
        is_new = proto.Execution.COMPLETE in done
        return (RunState.SKIPPED if is_new else RunState.NOTHING_NEW), None
    if stopped or _LAST_NODE not in states:
        return (RunState.RUNNING if goes_on else RunState.KILLED), stopped or list(states)[-1]
    ran = {node for node, state in states.items() if state == proto.Execution.COMPLETE}
    if _LAST_NODE in ran and run.first("pushed_model").get(PUSHED) == 1:
        return RunState.PUSHED, None
    if "Evaluator" in ran and run.first("blessing").get(BLESSED) != 1:
        return RunState.REJECTED, None
    return RunState.NOTHING_NEW, None


def _seconds(execution: proto.Execution) -> float:
    return (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000


def _span_fact(run: PipelineRun, name: str) -> int | None:
    for example_gen in EXAMPLE_GENS:
        if node := run.nodes.get(example_gen):
            examples = node.made.get("examples", [{}])[0]
            values = {**plain_values(node.execution), **examples}
            return int(values[name]) if values.get(name) is not None else None
    return None


def _window(run: PipelineRun) -> tuple[int, ...]:
    for name in ("TripletGen", "Transform"):
        examples = run.nodes[name].read.get("examples", []) if name in run.nodes else []
        if spans := {int(values["span"]) for values in examples if "span" in values}:
            return tuple(sorted(spans))
    return ()


def _index(artifact: Values) -> Values:
    """Of an index that was made: a model that is not blessed has none."""
    if not artifact.get("built"):
        return {}
    return {key: artifact[key] for key in _INDEX_FACTS if key in artifact}


def _count(artifact: Values, name: str) -> int | None:
    return int(artifact[name]) if name in artifact else None


def _main_metrics(evaluation: Values) -> dict[str, dict[str, float]]:
    """What Evaluator keeps on its artifact as `MODEL METRIC`."""
    metrics: dict[str, dict[str, float]] = {}
    for name, value in evaluation.items():
        model, _, metric = name.partition(" ")
        if metric and model in (CANDIDATE, BASELINE):
            metrics.setdefault(model, {})[metric] = float(value)
    return metrics


def _intervals(evaluation: Values) -> dict[str, tuple[float, float]]:
    """What Evaluator keeps as `change METRIC lower` and `change METRIC upper`."""
    found = {}
    for name in _main_metrics(evaluation).get(CANDIDATE, {}):
        lower, upper = (_figure(evaluation, f"{CHANGE} {e(name)}") for e in (lower_end, upper_end))
        if lower is not None and upper is not None:
            found[name] = lower, upper
    return found


def _figure(artifact: Values, name: str) -> float | None:
    return float(artifact[name]) if name in artifact else None
