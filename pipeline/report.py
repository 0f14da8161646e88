"""The node that writes the report, where `[report] enabled` asks."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode

from components.report_gen import ReportGen
from modules.report import PAGE_FOLDER
from pipeline.config import Config
from pipeline.fingerprint import folder_fingerprint


def make_report_nodes(
    config: Config,
    trainer: BaseComponent,
    evaluator: BaseComponent,
    audited: Sequence[BaseNode],
) -> list[BaseComponent]:
    """Makes ReportGen; nothing if there is to be none.

    Args:
        config: The pipeline.
        trainer: Of the candidate.
        evaluator: Has judged it.
        audited: As `pipeline.audit.audit_nodes` returns it.
    """
    if not config.report.enabled:
        return []
    shown = config.custom_config("data", "image", "triplets", "model", "training")
    report_gen = ReportGen(
        examples=evaluator.inputs["examples"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        baseline_model=evaluator.inputs["baseline_model"],
        triplets=trainer.inputs["examples"],
        audit=audited[-1].outputs["audit"] if audited else None,
        settings=config.report,
        tables={
            **shown,
            # What is as by default is left out: some keys may only be set beside others.
            "evaluation": config.judged_by.model_dump(mode="json", exclude_defaults=True),
        },
        pipeline_name=config.pipeline.name,
        page_fingerprint=folder_fingerprint(str(PAGE_FOLDER)),
    )
    return [report_gen]
