"""Runs of the chain without their work: TFX's publishing and our resolvers on a real database.

What a node makes is a folder with one byte. Whether it is cached follows TFX's rule: an execution
that ended well with the same inputs, all of whose outputs are live and there.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.orchestration import metadata
from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib
from tfx.types import artifact_utils, standard_artifacts

from components.index_gen import Index
from components.metadata import Models, find_execution, skips_training
from components.pusher.versioned_push import versions
from components.report_gen import EvaluationReport
from components.resolvers.baseline import LatestBlessedBaselineStrategy
from components.resolvers.previous_index import PreviousIndexStrategy
from components.resolvers.previous_model import PreviousModelStrategy
from components.resolvers.previous_statistics import PreviousStatisticsStrategy
from components.resolvers.served_index import ServedIndexStrategy
from components.resolvers.served_model import ServedModelStrategy
from components.resolvers.window import FixedSpanStrategy, WindowStrategy
from components.training_decision import Decision
from modules.report import CARD_FILE
from pipeline.config import Config, parse_config
from pipeline.metadata import make_latest
from pipeline.operations.gc import Plan, carry_out, make_plan

Artifacts = dict[str, list]


@dataclasses.dataclass(frozen=True)
class Event:
    """One run: what arrives and what comes of it."""

    new_data: bool = True
    valid: bool = True
    blessed: bool = True
    breaks_at: str | None = None  # a node that fails
    retunes: bool = False  # another setting of the Trainer, one that never was before
    resplits: bool = False  # another way to divide the examples into splits, likewise
    rewrites: bool = False  # the current span comes again, as a new version
    takes_back: bool = False  # before the run, the last spans that were rejected are removed
    rolls_back: bool = False  # before the run
    fits: bool = True  # the served model, if that is asked
    collects: int = 0  # `gc --keep` after the run


class NodeFailedError(Exception):
    """A node fails, and with it the run."""


class Simulation:
    """A pipeline in memory, with its folders."""

    def __init__(
        self, root: Path, *, window: int, fixed: int | None, warm: bool, rounds: int,
        decides: bool = False,
    ):  # fmt: skip
        data = {"path": "x", "split": "hash", "pattern": "{SPAN}/*", "window": window}
        if fixed is not None:
            data["evaluation_span"] = fixed
        tables = {"pipeline": {"name": "sim", "directory": str(root)}, "data": data}
        if decides:
            tables["retraining"] = {"tolerated_drop": 0.01, "max_skips": 2}
        self.config: Config = parse_config(tables, "test")
        self.decides = decides
        self.fixed, self.warm, self.rounds = fixed, warm, rounds
        self.root = Path(self.config.pipeline.root)
        self.serving = Path(self.config.pipeline.serving_directory)
        self.serving.mkdir(parents=True)
        config = proto.ConnectionConfig(fake_database=proto.FakeDatabaseConfig())
        self.handle = metadata.Metadata(config)
        self.handle.__enter__()
        self.store = self.handle.store
        self.span, self.run_number = 0, 0
        self.versions: dict[int, int] = defaultdict(int)  # by span
        self.setting, self.split = 0, 0
        self.rejected: set[int] = set()
        self.passed: set[int] = set()
        self.trace: list = []

    def happens(self, event: Event) -> None:
        """One event, with all that it does noted in `trace`."""
        if event.rolls_back and self.run_number:
            self.roll_back()
        if event.takes_back and self.span in self.rejected:
            while self.span in self.rejected:
                self.rejected.remove(self.span)
                self.versions[self.span] += 1  # what arrives in its place later is other data
                self.span -= 1
        else:
            self.span += event.new_data
        self.versions[self.span] += event.rewrites
        self.setting += event.retunes
        self.split += event.resplits
        self.run_number += 1
        try:
            self._run(event)
            self.rejected.discard(self.span)
            self.passed.add(self.span)
        except NodeFailedError as failed:
            self.trace.append(("failed", str(failed)))
            if str(failed) in ("ExampleGen", "ExampleValidator") and self.span not in self.passed:
                self.rejected.add(self.span)

    def collect(self, keep: int) -> Plan:
        """`gc --keep N --delete`."""
        plan = make_plan(self.store, self.config, keep)
        carry_out(self.store, plan)
        return plan

    def roll_back(self) -> None:
        """As `pipeline.operations.rollback`, without the push and its execution."""
        models = Models(self.store, "sim")
        found = versions(str(self.serving))
        served = models.of_version(found[-1]) if found else None
        earlier = [model for model in models.blessed() if served and model < served]
        self.trace.append(("rolled back to", earlier[-1:]))
        if earlier:
            target = models.by_id(earlier[-1])
            assert target.state == proto.Artifact.LIVE
            assert Path(target.uri).is_dir()
            extras = models.extras_of(target.id)
            assert all(Path(path).exists() for path in extras.values())
            self._made_by(
                "Rollback", {"model": [self._tfx(target)]}, lambda one: self._push(one, extras)
            )
            make_latest(self.store, models, target, "rolled back")

    def live(self, kind: type) -> list:
        """All live artifacts of a type."""
        found = self.store.get_artifacts_by_type(kind.TYPE_NAME)
        return [self._tfx(a) for a in found if a.state == proto.Artifact.LIVE]

    def _tfx(self, artifact: proto.Artifact):
        (kind,) = self.store.get_artifact_types_by_id([artifact.type_id])
        return artifact_utils.deserialize_artifact(kind, artifact)

    def _resolve(self, node: str, strategy, **inputs) -> Artifacts:
        """As the resolvers of a pipeline: only live artifacts, noted as internal output."""
        found = strategy.resolve_artifacts(self.store, inputs)
        contexts, execution = self._register(node, {}, {})
        execution_publish_utils.publish_internal_execution(
            self.handle, contexts, execution.id, found
        )
        self.trace.append((node, {key: [a.id for a in some] for key, some in found.items()}))
        return found

    def _run(self, event: Event) -> None:
        data = {
            "span": self.span,
            "version": self.versions[self.span],
            "output_config": f"split {self.split}",
        }
        examples = self._node("ExampleGen", {}, {"examples": standard_artifacts.Examples}, event,
                              data)  # fmt: skip
        statistics = self._node(
            "StatisticsGen", examples, {"statistics": standard_artifacts.ExampleStatistics}, event,
            span=self.span,
        )  # fmt: skip
        previous = self._resolve(
            "PreviousStatisticsResolver", PreviousStatisticsStrategy(),
            statistics=self.live(standard_artifacts.ExampleStatistics),
            current=statistics["statistics"],
        )["statistics"]  # fmt: skip
        if not event.valid:
            event = dataclasses.replace(event, breaks_at="ExampleValidator")
        self._node(
            "ExampleValidator", {**statistics, "previous_statistics": previous},
            {"anomalies": standard_artifacts.ExampleAnomalies}, event,
        )  # fmt: skip
        channels = {**examples, "candidates": self._of_node("ExampleGen")}
        window = self.config.data.window
        trained = self._resolve("WindowResolver", WindowStrategy(window), **channels)["examples"]
        judged = trained
        if self.fixed is not None:
            fixed = FixedSpanStrategy(self.fixed, window)
            judged = self._resolve("EvaluationResolver", fixed, **channels)["examples"]
        if self.decides and self._skips(examples["examples"], event):
            self._update_index(trained, event)
            return
        graph = self._node(
            "Transform", {"examples": trained},
            {"transform_graph": standard_artifacts.TransformGraph}, event,
        )  # fmt: skip
        start: list = []
        if self.warm or self.rounds:
            start = self._resolve(
                "PreviousModelResolver", PreviousModelStrategy(self.rounds),
                model=self.live(standard_artifacts.Model),
                model_blessing=self.live(standard_artifacts.ModelBlessing), examples=trained,
            )["model"]  # fmt: skip
        triplets = self._node("TripletGen", {"examples": trained, "model": start},
                              {"triplets": standard_artifacts.Examples}, event)  # fmt: skip
        model = self._node(
            "Trainer", {"examples": triplets["triplets"], **graph, "base_model": start},
            {"model": standard_artifacts.Model, "model_run": standard_artifacts.ModelRun}, event,
            {"steps": self.setting, "recipe": f"recipe {self.setting}"},
        )["model"]  # fmt: skip
        baseline = self._resolve(
            "BaselineResolver", LatestBlessedBaselineStrategy(),
            model=self.live(standard_artifacts.Model),
            model_blessing=self.live(standard_artifacts.ModelBlessing), candidate=model,
        )["model"]  # fmt: skip
        blessing = self._node(
            "Evaluator", {"examples": judged, "model": model, "baseline_model": baseline},
            {"evaluation": standard_artifacts.ModelEvaluation,
             "blessing": standard_artifacts.ModelBlessing}, event,
            blessed=int(event.blessed and not Path(model[0].uri, "REVOKED").exists()),
            current_model_id=model[0].id,
        )["blessing"]  # fmt: skip
        report = self._node(
            "ReportGen", {"examples": judged, "model": model, "blessing": blessing},
            {"report": EvaluationReport}, event,
        )["report"]  # fmt: skip
        inputs = {"model": model, "model_blessing": blessing}
        previous = self._resolve(
            "PreviousIndexResolver", PreviousIndexStrategy(),
            previous_index=self.live(Index), examples=trained, **inputs,
        )["previous_index"]  # fmt: skip
        index = self._node(
            "IndexGen", {"examples": trained, "previous_index": previous, **inputs},
            {"index": Index}, event, built=blessing[0].get_int_custom_property("blessed"),
        )["index"]  # fmt: skip
        self._node("Pusher", {**inputs, "index": index, "report": report},
                   {"pushed_model": standard_artifacts.PushedModel}, event)  # fmt: skip

    def _skips(self, examples: list, event: Event) -> bool:
        """The rules of TrainingDecision; the figures are the event's."""
        given = self._resolve(
            "ServedModelResolver", ServedModelStrategy(f"recipe {self.setting}"),
            model=self.live(standard_artifacts.Model),
            model_blessing=self.live(standard_artifacts.ModelBlessing), examples=examples,
            reference=self.live(standard_artifacts.Examples), earlier=self.live(Decision),
        )  # fmt: skip
        del given["model_blessing"]
        model, row = given["model"], given["earlier"]
        train = bool(
            not model
            or (row and row[-1].get_int_custom_property("train"))
            or len(row) >= self.config.retraining.max_skips
            or not event.fits
        )
        assert not model or given["reference"]
        self._node(
            "TrainingDecision", given, {"decision": Decision}, event, train=int(train),
            span=self.span, judged_model=model[0].id if model else 0,
        )  # fmt: skip
        run = find_execution(self.store, "sim", f"run {self.run_number}", "TrainingDecision")
        return skips_training(self.store, run)

    def _update_index(self, examples: list, event: Event) -> None:
        served = self._resolve(
            "ServedIndexResolver", ServedIndexStrategy(), examples=examples,
            model=self.live(standard_artifacts.Model),
            model_blessing=self.live(standard_artifacts.ModelBlessing),
            report=self.live(EvaluationReport), previous_index=self.live(Index),
        )  # fmt: skip
        report = served.pop("report")
        index = self._node("IndexUpdate", served, {"index": Index}, event, built=1)["index"]
        inputs = {key: served[key] for key in ("model", "model_blessing")}
        self._node("UpdatePusher", {**inputs, "index": index, "report": report},
                   {"pushed_model": standard_artifacts.PushedModel}, event)  # fmt: skip

    def _of_node(self, node: str) -> list:
        context = self.store.get_context_by_type_and_name("node", f"sim.{node}")
        found = self.store.get_artifacts_by_context(context.id)
        return [self._tfx(a) for a in found if a.state == proto.Artifact.LIVE]

    def _node(
        self, node: str, inputs: Artifacts, outputs: dict[str, type], event: Event,
        settings: dict | None = None, **noted: int,
    ) -> Artifacts:  # fmt: skip
        inputs = {key: some for key, some in inputs.items() if some}
        key = self._key(node, inputs, settings or {})
        contexts, execution = self._register(node, inputs, {"key": key, **(settings or {})})
        cached = self._cached(node, key, execution.id)
        if cached is not None:
            execution_publish_utils.publish_cached_executions(
                self.handle, contexts, [execution], [cached]
            )
            self.trace.append((node, "cached", {k: a[0].id for k, a in cached.items()}))
            return cached
        if event.breaks_at == node:
            execution_publish_utils.publish_failed_execution(self.handle, contexts, execution.id)
            raise NodeFailedError(node)
        made = {name: [kind()] for name, kind in outputs.items()}
        for name, (artifact,) in made.items():
            artifact.uri = str(self.root / node / name / str(execution.id))
            Path(artifact.uri).mkdir(parents=True)
            (Path(artifact.uri) / "file").write_text("x")
            for prop, value in {**noted, **(settings or {})}.items():
                if isinstance(value, int):
                    artifact.set_int_custom_property(prop, value)
            if "span" in noted and "span" in (artifact.PROPERTIES or {}):
                artifact.span = noted["span"]
        pushes = node in ("Pusher", "UpdatePusher")
        if pushes and inputs["model_blessing"][0].get_int_custom_property("blessed"):
            extras = {"index": inputs["index"][0].uri}
            if "report" in inputs:
                extras[CARD_FILE] = f"{inputs['report'][0].uri}/file"
            self._push(made["pushed_model"][0], extras)
        execution_publish_utils.publish_succeeded_execution(
            self.handle, execution.id, contexts, made
        )
        ids = self.store.get_events_by_execution_ids([execution.id])
        by_key = {e.path.steps[0].key: e.artifact_id for e in ids if e.type == proto.Event.OUTPUT}
        self.trace.append((node, "run", by_key))
        # As stored, with the times that are part of an input.
        return {
            key: [self._tfx(self.store.get_artifacts_by_id([made])[0])]
            for key, made in by_key.items()
        }

    def _made_by(self, node: str, inputs: Artifacts, change) -> None:
        contexts, execution = self._register(node, inputs, {}, of_run=False)
        artifact = standard_artifacts.PushedModel()
        change(artifact)
        artifact.uri = artifact.get_string_custom_property("pushed_destination")
        execution_publish_utils.publish_succeeded_execution(
            self.handle, execution.id, contexts, {"pushed_model": [artifact]}
        )

    def _push(self, pushed, extras: dict[str, str]) -> None:
        """The two newest versions stay."""
        pushed.set_string_custom_property("pushed_extras", json.dumps(extras))
        found = versions(str(self.serving))
        version = found[-1] + 1 if found else 1
        (self.serving / str(version)).mkdir()
        for old in found[:-1]:
            (self.serving / str(old)).rmdir()
        pushed.set_int_custom_property("pushed", 1)
        pushed.set_string_custom_property("pushed_version", str(version))
        pushed.set_string_custom_property("pushed_destination", str(self.serving / str(version)))

    @staticmethod
    def _key(node: str, inputs: Artifacts, settings: dict) -> str:
        # The artifacts themselves, as in TFX: a changed property is another input.
        read = {
            key: [a.mlmd_artifact.SerializeToString(deterministic=True).hex() for a in some]
            for key, some in sorted(inputs.items())
        }
        return str((node, read, settings))

    def _register(self, node: str, inputs: Artifacts, settings: dict, *, of_run: bool = True):
        names = {"pipeline": "sim", "node": f"sim.{node}"}
        if of_run:
            names["pipeline_run"] = f"run {self.run_number}"
        contexts = [
            context_lib.register_context_if_not_exists(self.handle, kind, name)
            for kind, name in names.items()
        ]
        execution = execution_publish_utils.register_execution(
            self.handle, proto.ExecutionType(name=node), contexts, inputs, settings
        )
        return contexts, execution

    def _cached(self, node: str, key: str, own: int) -> Artifacts | None:
        for execution in sorted(self.store.get_executions_by_type(node), key=lambda e: -e.id):
            if (
                execution.id == own
                or execution.last_known_state not in (proto.Execution.COMPLETE,
                                                      proto.Execution.CACHED)
                or execution.custom_properties["key"].string_value != key
            ):  # fmt: skip
                continue
            events = [
                e for e in self.store.get_events_by_execution_ids([execution.id])
                if e.type == proto.Event.OUTPUT
            ]  # fmt: skip
            by_id = {a.id: a for a in self.store.get_artifacts_by_id(
                [e.artifact_id for e in events])}  # fmt: skip
            if all(a.state == proto.Artifact.LIVE and Path(a.uri).exists() for a in by_id.values()):
                return {e.path.steps[0].key: [self._tfx(by_id[e.artifact_id])] for e in events}
        return None
