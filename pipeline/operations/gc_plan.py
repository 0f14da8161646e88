"""What of a pipeline's artifacts is still needed, by the metadata database.

Needed is what a later run may resolve, find in its cache or compare with, and what a rollback may
push. The rules name more than that where it is cheap, never less:
`tests/pipeline/operations/test_gc.py` lets the resolvers themselves decide before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import (
    DECISION_NODE,
    DONE,
    Lineage,
    Models,
    artifacts_by_type,
    executions_of_nodes,
    executions_of_runs,
    find_events,
    plain_values,
)
from components.pusher import versions
from pipeline.config import Config

BLESSED_MODELS = 2  # the baseline of a candidate, and of the next one if it is blessed

_SPAN, _SPLITS = "span", "output_config"


class Needed:
    """The artifacts of one pipeline that must stay, with the reason.

    Args:
        store: The metadata database.
        config: The pipeline.
        keep_runs: Of so many of the latest runs everything stays, at least 1.
    """

    def __init__(self, store: mlmd.MetadataStore, config: Config, keep_runs: int) -> None:
        self._store, self._config = store, config
        self._lineage = Lineage(store)
        self._models = Models(store, config.pipeline.name)
        by_type = artifacts_by_type(store, config.pipeline.name)
        self._examples = by_type.get("Examples", [])
        self.artifacts = {
            artifact.id: artifact
            for artifacts in by_type.values()
            for artifact in artifacts
            if artifact.state == proto.Artifact.LIVE
        }
        runs, latest = self._of_runs(keep_runs), self._latest_of_nodes()
        self.executions = [*runs, *latest]  # those whose inputs and outputs stay
        self.reasons: dict[int, str] = {}
        noun = "run" if keep_runs == 1 else f"{keep_runs} runs"
        self._keep(self._related(runs), f"of the last {noun}")
        self._keep(self._related(latest), "in the cache of the next run")
        self._keep(self._of_blessed(), "last blessed models and what they started from")
        self._keep(self._of_served(), "models in the serving folder")
        if config.data.has_spans:
            self._keep(self._of_spans(), "spans to train on, evaluate on or compare with")
        if config.retraining.tolerated_drop is not None:
            decisions = by_type.get(DECISION_NODE, [])
            self._keep(self._of_decision(decisions), "what decides on the next training")

    def _keep(self, artifacts: Iterable[int], reason: str) -> None:
        for artifact in artifacts:
            if artifact in self.artifacts:
                self.reasons.setdefault(artifact, reason)

    def _of_runs(self, count: int) -> list[proto.Execution]:
        """All executions of the last runs of this pipeline."""
        runs = executions_of_runs(self._store, self._config.pipeline.name)
        return [execution for run in list(runs.values())[-count:] for execution in run]

    def _latest_of_nodes(self) -> list[proto.Execution]:
        """The latest execution of every node that ended well, which the next run may repeat."""
        by_node = executions_of_nodes(self._store, self._config.pipeline.name)
        done = ([e for e in node if e.last_known_state in DONE] for node in by_node.values())
        return [executions[-1] for executions in done if executions]

    def _related(self, executions: list[proto.Execution]) -> set[int]:
        """What executions read and made."""
        events = find_events(self._store, executions=(e.id for e in executions))
        return {event.artifact_id for event in events}

    def _of_blessed(self) -> set[int]:
        """`BaselineResolver` and `PreviousModelResolver` choose among these."""
        known = [model for model in self._models.blessed() if model in self.artifacts]
        models = set(known[-BLESSED_MODELS:])
        if models:
            started_from = (self._lineage.made_from(model) for model in tuple(models))
            models |= {model for model in started_from if model is not None}
        return models | self._verdicts(models)

    def _of_served(self) -> set[int]:
        """What a rollback may push, and the one blessed before each."""
        pushed = self._models.versions()
        served = {
            pushed[version]
            for version in versions(self._config.pipeline.serving_directory)
            if version in pushed
        }
        blessed = [model for model in self._models.blessed() if model in self.artifacts]
        before = {max((b for b in blessed if b < model), default=model) for model in served}
        models = served | before
        return models | self._verdicts(models) | self._with_extras(models)

    def _with_extras(self, models: Iterable[int]) -> set[int]:
        """What holds the files that were pushed beside the models."""
        paths = [f"{path}/" for model in models for path in self._models.extras_of(model).values()]
        return {
            artifact.id
            for artifact in self.artifacts.values()
            if any(path.startswith(f"{artifact.uri}/") for path in paths)
        }

    def _of_decision(self, decisions: list[proto.Artifact]) -> set[int]:
        """`ServedModelResolver` chooses among these, and among the blessed models."""
        models = [model for model in self._models.blessed() if model in self.artifacts]
        seen = set[int]().union(*map(self._lineage.trained_on, models[-BLESSED_MODELS:]))
        spans = {a.id for a in self._examples if _SPAN in a.custom_properties}
        latest = sorted(decisions, key=lambda one: (_span(one), one.id))
        # A row of skips, the training before it, and the span that may be read again.
        row = latest[-(self._config.retraining.max_skips + 2) :]
        return (seen & spans) | {one.id for one in row}

    def _verdicts(self, models: Iterable[int]) -> set[int]:
        return {blessing.id for model in models for blessing in self._models.blessings_of(model)}

    def _of_spans(self) -> set[int]:
        """`WindowResolver`, `EvaluationResolver` and the resolver of statistics choose among these.

        One span more than the window: a further run on the latest span compares it with the one
        before.
        """
        count = self._config.data.window + 1
        examples = [
            a for a in self._examples if a.id in self.artifacts and _SPAN in a.custom_properties
        ]
        passed = set(self._lineage.validated_statistics([one.id for one in examples]))
        makers = {one.id: self._lineage.maker(one.id) for one in examples if one.id in passed}
        examples = sorted((one for one in examples if one.id in makers), key=_span)
        by_splits: dict[str, list[proto.Artifact]] = {}
        for one in examples:
            splits = str(plain_values(makers[one.id]).get(_SPLITS))
            by_splits.setdefault(splits, []).append(one)
        kept = {
            one.id
            # Spans that were divided into splits in different ways are never in one window.
            for group in (examples, *by_splits.values())
            for one in group
            if _span(one) in sorted({_span(other) for other in group})[-count:]
            or _span(one) == self._config.data.fixed_span
        }
        statistics = self._lineage.outputs_of(kept, "examples", "statistics")
        return kept | statistics | set(self._anomalies(statistics))

    def _anomalies(self, statistics: set[int]) -> Iterator[int]:
        yield from self._lineage.outputs_of(statistics, "statistics", "anomalies")


def _span(examples: proto.Artifact) -> int:
    return examples.custom_properties[_SPAN].int_value
