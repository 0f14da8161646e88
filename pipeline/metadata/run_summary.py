"""One record per run, read from the metadata database alone: fast, and artifacts may be gone."""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config import Config
from pipeline.metadata.runs import ERROR_PROPERTY, connection
from pipeline.runtime import is_locked

State = Literal[
    "pushed", "rejected", "nothing new", "data rejected", "failed", "killed", "running"
]  # fmt: skip
CANDIDATE, BASELINE = "candidate", "baseline"

EXAMPLE_GENS = ("ImportExampleGen", "ImageExampleGen")
_DATA_NODES = (*EXAMPLE_GENS, "StatisticsGen", "ExampleValidator")
_LAST_NODE = "Pusher"
_OUTPUT = (proto.Event.OUTPUT, proto.Event.INTERNAL_OUTPUT)
_INPUT = (proto.Event.INPUT, proto.Event.INTERNAL_INPUT)


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What one run did.

    Attributes:
        run_id: TFX's id of the run.
        started: Local time, ISO 8601, seconds.
        seconds: From the start of the first node to the end of the last.
        state: `pushed`; `rejected`, by the gate; `nothing new`, every node cached; `data rejected`,
            by ExampleGen or ExampleValidator; `failed`, at another node; `killed`; `running`.
        node: Where a run stopped that did not reach the end.
        span: The span that ExampleGen read; None when it did not get that far, or without spans.
        window: Spans of the examples that were trained on.
        images: Number of examples in the span that was read, where ExampleGen counts them.
        triplets: Number of triplets that were trained on.
        metrics: `candidate`, and with a baseline `baseline`, on the same data: metric → value.
        evaluation: Folder of the evaluation, for all that is not in `metrics`.
        blessed: The verdict as it stands now; None without one.
        reason: Why it was rejected, or the error that ended the run.
        version: The version that this run pushed.
        trained: Whether this run made the model that it ends with.
    """

    run_id: str
    started: str
    seconds: float
    state: State
    node: str | None = None
    span: int | None = None
    window: tuple[int, ...] = ()
    images: int | None = None
    triplets: int | None = None
    metrics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    evaluation: str | None = None
    blessed: bool | None = None
    reason: str | None = None
    version: str | None = None
    trained: bool = False

    def metric(self, model: str, name: str) -> float | None:
        """A main metric; `precision@` takes the first k there is."""
        found = (v for key, v in self.metrics.get(model, {}).items() if key.startswith(name))
        return next(found, None)


def read_runs(config: Config, *, lock_is_ours: bool = False) -> list[RunSummary]:
    """Reads the runs of a pipeline, oldest first.

    Args:
        config: The pipeline.
        lock_is_ours: The caller holds the lock, so a run without an end does not go on.

    Returns:
        Nothing when the pipeline has not run.
    """
    if not Path(config.pipeline.metadata).exists():
        return []
    store = mlmd.MetadataStore(connection(config, readonly=True))
    name = config.pipeline.name
    pipeline = store.get_context_by_type_and_name("pipeline", name)
    if pipeline is None:
        return []
    executions = {e.id: e for e in store.get_executions_by_context(pipeline.id)}
    prefix = f"{name}."
    nodes = {
        execution.id: context.name.removeprefix(prefix)
        for context in store.get_contexts_by_type("node")
        if context.name.startswith(prefix)
        for execution in store.get_executions_by_context(context.id)
    }
    # Contexts are numbered as they come, and a run's is made when its first node starts.
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    found = []
    for run in reversed(runs):
        of_run = [e for e in store.get_executions_by_context(run.id) if e.id in executions]
        by_node = {nodes[e.id]: e for e in sorted(of_run, key=lambda e: e.id) if e.id in nodes}
        if by_node:
            running = not found and not lock_is_ours and is_locked(config)
            found.append(_record(store, run, by_node, running=running))
    if not any("{" in pattern for pattern in config.data.patterns.values()):
        # TFX calls it span 0.
        found = [dataclasses.replace(record, span=None, window=()) for record in found]
    return found[::-1]


@dataclasses.dataclass(frozen=True)
class _Artifacts:
    """Artifacts of one run: node → key → properties of each artifact."""

    made: dict[str, dict[str, list[dict[str, Any]]]]
    read: dict[str, dict[str, list[dict[str, Any]]]]

    def first(self, key: str) -> dict[str, Any]:
        """The first artifact that any node made as this output."""
        return next((outputs[key][0] for outputs in self.made.values() if key in outputs), {})


def _artifacts(store: mlmd.MetadataStore, by_node: dict[str, proto.Execution]) -> _Artifacts:
    node_of = {execution.id: node for node, execution in by_node.items()}
    events = store.get_events_by_execution_ids(list(node_of))
    ids = sorted({event.artifact_id for event in events})
    known = {artifact.id: _values(artifact) for artifact in store.get_artifacts_by_id(ids)}
    result = _Artifacts(defaultdict(dict), defaultdict(dict))
    for event in events:
        side = result.made if event.type in _OUTPUT else result.read if event.type in _INPUT else {}
        key = event.path.steps[0].key if event.path.steps else ""
        if event.artifact_id in known:
            keys = side.setdefault(node_of[event.execution_id], {})
            keys.setdefault(key, []).append(known[event.artifact_id])
    return result


def _values(item: proto.Artifact | proto.Execution) -> dict[str, Any]:
    """Properties as plain values, with the uri of an artifact."""
    values = {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in (*item.properties.items(), *item.custom_properties.items())
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }
    return {**values, "uri": getattr(item, "uri", "")}


def _record(
    store: mlmd.MetadataStore,
    run: proto.Context,
    by_node: dict[str, proto.Execution],
    *,
    running: bool,
) -> RunSummary:
    artifacts = _artifacts(store, by_node)
    blessing = artifacts.first("blessing")
    evaluation = artifacts.first("evaluation")
    pushed = artifacts.first("pushed_model")
    state, node = _state(by_node, blessing, pushed, running=running)
    started = min(e.create_time_since_epoch for e in by_node.values())
    ended = max(e.last_update_time_since_epoch for e in by_node.values())
    reason = blessing.get("reason")
    if state in ("failed", "data rejected") and node:
        reason = _values(by_node[node]).get(ERROR_PROPERTY)
    trainer = by_node.get("Trainer")
    return RunSummary(
        run_id=run.name,
        started=local_time(started),
        seconds=(ended - started) / 1000,
        state=state,
        node=node,
        span=_span(by_node, artifacts),
        window=_window(artifacts),
        images=artifacts.first("examples").get("images"),
        triplets=artifacts.first("triplets").get("triplets"),
        metrics=_metrics(evaluation),
        evaluation=evaluation.get("uri"),
        blessed=bool(blessing["blessed"]) if "blessed" in blessing else None,
        reason=reason,
        version=str(pushed.get("pushed_version")) if state == "pushed" else None,
        trained=trainer is not None and trainer.last_known_state == proto.Execution.COMPLETE,
    )


def local_time(milliseconds: int) -> str:
    """ISO 8601 with seconds, in the time zone of this machine."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).isoformat(" ", timespec="seconds")


def _state(
    by_node: dict[str, proto.Execution],
    blessing: dict[str, Any],
    pushed: dict[str, Any],
    *,
    running: bool,
) -> tuple[State, str | None]:
    """What became of a run, and the node that stopped it."""
    states = {node: execution.last_known_state for node, execution in by_node.items()}
    done = {proto.Execution.COMPLETE, proto.Execution.CACHED}
    for node, state in states.items():
        if state == proto.Execution.FAILED:
            return ("data rejected" if node in _DATA_NODES else "failed"), node
    stopped = next((node for node, state in states.items() if state not in done), None)
    if stopped or _LAST_NODE not in states:
        return ("running" if running else "killed"), stopped or list(states)[-1]
    ran = {node for node, state in states.items() if state == proto.Execution.COMPLETE}
    if _LAST_NODE in ran and pushed.get("pushed") == 1:
        return "pushed", None
    if "Evaluator" in ran and blessing.get("blessed") != 1:
        return "rejected", None
    return "nothing new", None


def _span(by_node: dict[str, proto.Execution], artifacts: _Artifacts) -> int | None:
    for node in EXAMPLE_GENS:
        if node in by_node:
            (examples, *_) = artifacts.made.get(node, {}).get("examples", [{}])
            values = {**_values(by_node[node]), **examples}
            return int(values["span"]) if "span" in values else None
    return None


def _window(artifacts: _Artifacts) -> tuple[int, ...]:
    for node in ("TripletGen", "Transform"):
        examples = artifacts.read.get(node, {}).get("examples", [])
        if spans := {int(values["span"]) for values in examples if "span" in values}:
            return tuple(sorted(spans))
    return ()


def _metrics(evaluation: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What Evaluator keeps on its artifact as `MODEL METRIC`."""
    metrics: dict[str, dict[str, float]] = {}
    for name, value in evaluation.items():
        model, _, metric = name.partition(" ")
        if metric and model in (CANDIDATE, BASELINE):
            metrics.setdefault(model, {})[metric] = float(value)
    return metrics
