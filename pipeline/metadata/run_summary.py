"""A run as it is read from the metadata: in short, and the latest one in detail."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any

from components.metadata import Values
from modules.gate import BASELINE, CANDIDATE
from pipeline.metadata.run_state import RunState

if TYPE_CHECKING:
    from modules.compatibility import ChurnReport, CompatibilityReport
    from modules.gate import Failure, OperatingPoint, ThresholdShift

__all__ = ["BASELINE", "CANDIDATE", "Evaluation", "NodeRun", "Run", "RunSummary", "local_time"]


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What one run did, from the database alone: its artifacts may be gone.

    Attributes:
        run_id: TFX's id of the run.
        started: Local time, ISO 8601, seconds.
        seconds: From the start of the first node to the end of the last.
        state: What became of it.
        node: Where a run stopped that did not reach the end.
        span: The span that ExampleGen read; None when it did not get that far, or without spans.
        span_version: Its version; None without versions.
        window: Spans of the examples that were trained on.
        images: Number of examples in the span that was read, where ExampleGen counts them.
        triplets: Number of triplets that were trained on.
        metrics: `candidate`, and with a baseline `baseline`, on the same data: main metric → value.
        intervals: Of the changes, candidate − baseline, of the main metrics: metric → lower, upper.
            Empty without a baseline, and where there are too few classes to tell.
        interval_level: Part of such intervals that hold the true change.
        evaluation: Folder of the evaluation, for all that is not in `metrics`.
        report: The page about the model that it ends with, a path or a URI.
        blessed: The verdict as it stands now; None without one.
        reason: Why it was rejected, or the error that ended the run.
        version: The version that this run pushed; of a skipped run that with the served model.
        trained: Whether this run made the model that it ends with.
        training_seconds: How long the Trainer took for that.
        decision: Why the span was trained on, or not; None unless that was asked.
        verdict: What an index of the last blessed model's vectors needs: `keep`, `map` or
            `re_embed`; None without such a model.
        changed_results: Share of logged queries with another first result than by that model.
        index: What `IndexGen` says of the index of the run's model, such as `images` and `kind`;
            empty without one.
    """

    run_id: str
    started: str
    seconds: float
    state: RunState
    node: str | None = None
    span: int | None = None
    span_version: int | None = None
    window: tuple[int, ...] = ()
    images: int | None = None
    triplets: int | None = None
    metrics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    interval_level: float | None = None
    evaluation: str | None = None
    report: str | None = None
    blessed: bool | None = None
    reason: str | None = None
    version: str | None = None
    trained: bool = False
    training_seconds: float | None = None
    decision: str | None = None
    verdict: str | None = None
    changed_results: float | None = None
    index: Values = dataclasses.field(default_factory=dict)

    def metric(self, model: str, name: str) -> float | None:
        """A main metric; `precision@` takes the first k there is."""
        found = (v for key, v in self.metrics.get(model, {}).items() if key.startswith(name))
        return next(found, None)

    def change(self, name: str) -> float | None:
        """Candidate − baseline of a main metric, named as for `metric`."""
        now, before = self.metric(CANDIDATE, name), self.metric(BASELINE, name)
        return None if now is None or before is None else now - before

    def interval(self, name: str) -> tuple[float, float] | None:
        """The interval of that change."""
        found = (ends for key, ends in self.intervals.items() if key.startswith(name))
        return next(found, None)


@dataclasses.dataclass(frozen=True)
class NodeRun:
    """One node of a run: `state` is run, cached, failed, killed, running or another of MLMD."""

    node: str
    state: str
    seconds: float
    error: str | None
    outputs: dict[str, Values]  # by output key: uri and properties of its first artifact
    uris: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # of all, by output key


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What Evaluator found, see `modules.gate.EvaluationReport`, and the verdict.

    `compatibility` and `churn` are there with a last blessed model, see `modules.compatibility`.

    `blessed` is the verdict as it stands now; None: the gate did not decide.
    """

    metrics: dict[str, dict[str, dict[str, float]]]
    blessed: bool | None
    failures: list[Failure]
    intervals: dict[str, dict[str, dict[str, tuple[float, float]]]] = dataclasses.field(
        default_factory=dict
    )
    operating_point: OperatingPoint | None = None
    shift: ThresholdShift | None = None
    compatibility: CompatibilityReport | None = None
    churn: ChurnReport | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run with its nodes and with what its artifacts say.

    Attributes:
        pipeline: Name of the pipeline.
        run_id: TFX's id of the run.
        nodes: In the order they started.
        evaluation: None if it was not evaluated, or the report cannot be read.
        pushed_to: The version folder that the run made.
        training_logs: For `tensorboard --logdir`.
        report: The page about the model, a path or a URI.
        tflite: `TFLiteReport` of the model, new or cached.
        choices: What the Trainer of that model chose, by name; empty where it did not say.
        advice: What it advises, in sentences.
        resumed_at: The steps from which that training went on after it was killed.
        problems: What could not be read, why, and what to do.
    """

    pipeline: str
    run_id: str
    nodes: list[NodeRun]
    evaluation: Evaluation | None
    pushed_to: str | None
    training_logs: str | None = None
    report: str | None = None
    tflite: dict[str, Any] | None = None
    choices: dict[str, Any] = dataclasses.field(default_factory=dict)
    advice: list[str] = dataclasses.field(default_factory=list)
    resumed_at: list[int] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def failed(self) -> NodeRun | None:
        """The node that ended the run."""
        return next((node for node in self.nodes if node.state == "failed"), None)


def local_time(milliseconds: int) -> str:
    """ISO 8601 with seconds, in the time zone of this machine."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).isoformat(" ", timespec="seconds")
