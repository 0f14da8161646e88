"""The node DataAudit."""

from __future__ import annotations

from typing import ClassVar

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, Channel, component_spec, standard_artifacts

from components.data_audit import executor
from components.data_audit.artifact import AUDIT_KEY, Audit
from modules.settings import AuditSettings, ImageTable


class DataAuditSpec(component_spec.ComponentSpec):
    """Inputs, output and parameters of DataAudit."""

    PARAMETERS: ClassVar = {
        executor.SETTINGS_KEY: component_spec.ExecutionParameter(type=str),
        executor.BACKGROUND_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.EVALUATED_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS: ClassVar = {AUDIT_KEY: component_spec.ChannelParameter(type=Audit)}


class DataAudit(base_beam_component.BaseBeamComponent):
    """Looks for what is wrong with the images of all splits together.

    Each image is read and decoded once. Found are copies (the same pixels) within a split, across
    splits and across labels; near-duplicates; blank images; images alone in their class; classes
    whose names or images look the same; and, with a model, labels that the nearest images do not
    have. Distractors are left out: their labels are no classes.

    The result depends on data, model and settings alone, not on the runner or its parallelism. A
    worker holds some hundred images, or the rows of a part of the data without images; the model
    compares `model_images` at most.

    The node fails if a share is above its threshold in the settings. Else it reports: `audit.json`
    and `suspects.json` in the folder of `audit`, and the counts as its custom properties.
    """

    SPEC_CLASS = DataAuditSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: BaseChannel,
        settings: AuditSettings | None = None,
        evaluated: BaseChannel | None = None,
        model: BaseChannel | None = None,
        background: str = ImageTable().background,
    ) -> None:
        """Describes the node.

        Args:
            examples: Of the data contract, one artifact or several.
            settings: `[audit]`.
            evaluated: Where the eval images are others than those of `examples`: theirs.
            model: None or one, exported by the Trainer of this project.
            background: The colour behind transparent images, as in `[image]`.
        """
        super().__init__(
            spec=DataAuditSpec(
                examples=examples,
                evaluated=evaluated,
                model=model,
                settings=(settings or AuditSettings()).model_dump_json(),
                background=background,
                audit=Channel(type=Audit),
            )
        )
