"""What happened in a run, read from the metadata database and the artifacts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config import Config
from pipeline.runtime import ConfigError

if TYPE_CHECKING:  # loads TFMA, which takes seconds
    from modules.gate import Failure

ERROR_PROPERTY = "error"
_STATES = {
    proto.Execution.COMPLETE: "run",
    proto.Execution.CACHED: "cached",
    proto.Execution.FAILED: "failed",
    proto.Execution.RUNNING: "running",
}


@dataclasses.dataclass(frozen=True)
class NodeRun:
    """One node of a run: `state` is run, cached, failed, running or another state of MLMD."""

    node: str
    state: str
    seconds: float
    error: str | None
    outputs: dict[str, dict[str, Any]]  # by output key: uri and properties of its first artifact
    uris: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # of all, by output key


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Metrics of the overall slice, and of the slices; model name → slice → metric → value."""

    metrics: dict[str, dict[str, dict[str, float]]]
    blessed: bool | None  # None: the gate did not decide
    failures: list[Failure]
    # Lower and upper bound (95%) in place of the value; empty unless `[evaluation] confidence`.
    intervals: dict[str, dict[str, dict[str, tuple[float, float]]]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the pipeline."""

    pipeline: str
    run_id: str
    nodes: list[NodeRun]
    evaluation: Evaluation | None
    pushed_to: str | None
    training_logs: str | None = None  # for `tensorboard --logdir`
    tflite: dict[str, Any] | None = None  # `TFLiteReport` of the model, new or cached

    @property
    def failed(self) -> NodeRun | None:
        """The node that ended the run."""
        return next((node for node in self.nodes if node.state == "failed"), None)


def record_failure(config: Config, node: str, error: Exception) -> None:
    """Keeps the message of a failed node with its execution, which TFX marks without a reason."""
    store = mlmd.MetadataStore(connection(config, readonly=False))
    context = store.get_context_by_type_and_name("node", f"{config.pipeline.name}.{node}")
    executions = store.get_executions_by_context(context.id) if context else []
    latest = max(executions, key=lambda execution: execution.id, default=None)
    # An error in the driver of a node, such as no files to read, leaves it as running.
    ended = (proto.Execution.FAILED, proto.Execution.RUNNING)
    if latest is not None and latest.last_known_state in ended:
        latest.last_known_state = proto.Execution.FAILED
        latest.custom_properties[ERROR_PROPERTY].string_value = f"{type(error).__name__}: {error}"
        store.put_executions([latest])


def connection(config: Config, *, readonly: bool) -> proto.ConnectionConfig:
    """How to reach the metadata database of a local pipeline."""
    result = proto.ConnectionConfig()
    result.sqlite.filename_uri = config.pipeline.metadata
    if readonly:
        result.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READONLY
    return result


def latest_run(config: Config) -> Run:
    """Reads the latest run of a pipeline.

    Raises:
        ConfigError: The pipeline has not run yet.
    """
    name = config.pipeline.name
    if not Path(config.pipeline.metadata).exists():
        raise ConfigError(f"Pipeline {name!r} has not run yet: no {config.pipeline.metadata}.")
    store = mlmd.MetadataStore(connection(config, readonly=True))
    context = store.get_context_by_type_and_name("pipeline", name)
    executions = store.get_executions_by_context(context.id) if context else []
    if not executions:
        raise ConfigError(f"Pipeline {name!r} has not run yet.")
    types = {kind.id: kind.name for kind in store.get_context_types()}
    run = next(
        context
        for execution in sorted(executions, key=lambda execution: execution.id, reverse=True)
        for context in store.get_contexts_by_execution(execution.id)
        if types[context.type_id] == "pipeline_run"  # a rollback belongs to none
    )
    nodes = [
        _node_run(store, types, execution)
        for execution in sorted(store.get_executions_by_context(run.id), key=lambda e: e.id)
    ]
    return Run(
        name,
        run.name,
        nodes,
        _evaluation(nodes),
        _pushed_to(nodes),
        _output(nodes, "model_run", "uri"),
        _tflite(_output(nodes, "model", "uri")),
    )


def _node_run(
    store: mlmd.MetadataStore, types: dict[int, str], execution: proto.Execution
) -> NodeRun:
    node = next(
        context.name
        for context in store.get_contexts_by_execution(execution.id)
        if types[context.type_id] == "node"
    )
    state = _STATES.get(
        execution.last_known_state,
        proto.Execution.State.Name(execution.last_known_state).lower(),
    )
    outputs = _outputs(store, execution.id)
    return NodeRun(
        node=node.rpartition(".")[2],
        state=state,
        seconds=(
            execution.last_update_time_since_epoch - execution.create_time_since_epoch
        ) / 1000,
        error=execution.custom_properties[ERROR_PROPERTY].string_value or None,
        outputs={key: artifacts[0] for key, artifacts in outputs.items()},
        uris={key: [a["uri"] for a in artifacts] for key, artifacts in outputs.items()},
    )  # fmt: skip


def _outputs(store: mlmd.MetadataStore, execution_id: int) -> dict[str, list[dict[str, Any]]]:
    """Uri and properties of all artifacts by output key."""
    outputs: dict[str, list[dict[str, Any]]] = {}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type not in (proto.Event.OUTPUT, proto.Event.INTERNAL_OUTPUT):
            continue
        key = event.path.steps[0].key if event.path.steps else ""
        for artifact in store.get_artifacts_by_id([event.artifact_id]):
            values = {**artifact.properties, **artifact.custom_properties}
            outputs.setdefault(key, []).append(
                {"uri": artifact.uri}
                | {name: getattr(v, v.WhichOneof("value")) for name, v in values.items()
                   if v.WhichOneof("value") in ("int_value", "double_value", "string_value")},
            )  # fmt: skip
    return outputs


def _output(nodes: list[NodeRun], key: str, name: str) -> Any:
    """A property of the first output artifact under this key, None without one."""
    return next((node.outputs[key].get(name) for node in nodes if key in node.outputs), None)


def _tflite(model: str | None) -> dict[str, Any] | None:
    """What Trainer measured of the TFLite models; None if it failed before or exports none."""
    if model is None:
        return None
    from tfx.utils import path_utils

    from modules.export import extra_assets, read_tflite_report

    report = read_tflite_report(extra_assets(path_utils.serving_model_dir(model)))
    return report and report.model_dump(mode="json")


def _pushed_to(nodes: list[NodeRun]) -> str | None:
    """The version folder that this run's Pusher wrote; None if cached or without a blessing."""
    for node in nodes:
        pushed = node.outputs.get("pushed_model", {})
        if pushed.get("pushed") == 1 and node.state == "run":
            return pushed.get("pushed_destination")
    return None


def _evaluation(nodes: list[NodeRun]) -> Evaluation | None:
    evaluator = next((node for node in nodes if "evaluation" in node.outputs), None)
    if evaluator is None:
        return None
    import tfx.v1  # noqa: F401  # before TFMA, which can come up without its protos alone

    from modules.gate import describe_failures, read_intervals, read_metrics

    uri = evaluator.outputs["evaluation"]["uri"]
    metrics = read_metrics(uri)
    blessed = evaluator.outputs.get("blessing", {}).get("blessed")
    failures = [] if blessed is None else describe_failures(uri, metrics)
    return Evaluation(
        metrics, None if blessed is None else blessed == 1, failures, read_intervals(uri)
    )
