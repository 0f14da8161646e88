"""The node ReportGen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, Channel, component_spec, standard_artifacts

from components.data_audit import AUDIT_KEY, Audit
from components.report_gen import executor
from components.report_gen.artifact import REPORT_KEY, EvaluationReport
from modules.settings import ReportSettings


class ReportGenSpec(component_spec.ComponentSpec):
    """Inputs, output and parameters of ReportGen."""

    PARAMETERS: ClassVar = {
        executor.SETTINGS_KEY: component_spec.ExecutionParameter(type=str),
        executor.TABLES_KEY: component_spec.ExecutionParameter(type=str),
        executor.PIPELINE_KEY: component_spec.ExecutionParameter(type=str),
        executor.PAGE_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.EVALUATION_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
        executor.BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
        executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_RUN_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelRun, optional=True
        ),
        executor.BASELINE_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        executor.TRIPLETS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        AUDIT_KEY: component_spec.ChannelParameter(type=Audit, optional=True),
    }
    OUTPUTS: ClassVar = {REPORT_KEY: component_spec.ChannelParameter(type=EvaluationReport)}


class ReportGen(base_beam_component.BaseBeamComponent):
    """Writes a page about an evaluated model, and its model card.

    `report.html` needs no other file and no network: the verdict first, queries with their nearest
    neighbours, a map of the embedding, metrics, classes, distances, training, data and run.
    `model_card.md` is for those who use the model; Pusher puts it beside the model.

    It reads what Evaluator kept and embeds or searches nothing. Of the images it reads those that
    the page shows, 10,000 at most. Whatever goes wrong becomes a warning and a small page with the
    reason: a report ends no run.

    Custom properties of `report`: `page_bytes`; `pictures`; `fault`, the reason if it failed.
    """

    SPEC_CLASS = ReportGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: BaseChannel,
        evaluation: BaseChannel,
        blessing: BaseChannel,
        model: BaseChannel,
        settings: ReportSettings,
        tables: Mapping[str, Any],
        pipeline_name: str,
        page_fingerprint: str | None = None,
        model_run: BaseChannel | None = None,
        baseline_model: BaseChannel | None = None,
        triplets: BaseChannel | None = None,
        audit: BaseChannel | None = None,
    ) -> None:
        """Describes the node.

        Args:
            examples: What Evaluator read.
            evaluation: From Evaluator.
            blessing: From Evaluator.
            model: The candidate.
            settings: `[report]`.
            tables: Tables of the configuration to show, by name; `evaluation` and `image` are used.
            pipeline_name: The title.
            page_fingerprint: Of the files of the page: a change of them is another report.
            model_run: From Trainer, with the curves of the training.
            baseline_model: The last blessed model, if there is one.
            triplets: From TripletGen, for the counts of the data.
            audit: From DataAudit, for what it found.
        """
        super().__init__(
            spec=ReportGenSpec(
                examples=examples,
                evaluation=evaluation,
                blessing=blessing,
                model=model,
                model_run=model_run,
                baseline_model=baseline_model,
                triplets=triplets,
                audit=audit,
                settings=settings.model_dump_json(),
                tables=json.dumps(tables, sort_keys=True),
                pipeline_name=pipeline_name,
                page_fingerprint=page_fingerprint,
                report=Channel(type=EvaluationReport),
            )
        )
