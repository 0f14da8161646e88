"""TFX's Pusher with the executor of this project."""

from __future__ import annotations

from typing import ClassVar

from tfx.components.pusher import component as tfx_component
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import data_types
from tfx.proto import pusher_pb2
from tfx.types import (
    BaseChannel,
    Channel,
    component_spec,
    standard_artifacts,
    standard_component_specs,
)
from tfx.utils import json_utils

from components.index_gen import INDEX_KEY, Index
from components.pusher import executor
from components.report_gen import REPORT_KEY, EvaluationReport


class PusherSpec(standard_component_specs.PusherSpec):
    """TFX's specification, with an index and a report besides."""

    INPUTS: ClassVar = {
        **standard_component_specs.PusherSpec.INPUTS,
        INDEX_KEY: component_spec.ChannelParameter(type=Index, optional=True),
        REPORT_KEY: component_spec.ChannelParameter(type=EvaluationReport, optional=True),
    }


class Pusher(tfx_component.Pusher):
    """Gives a blessed model to the folder that TensorFlow Serving polls.

    A version folder appears complete, by one rename, also when the push is killed at any moment;
    see `components.pusher.versioned_push`. Version numbers are Unix times in seconds, raised where
    needed so that every push has a greater one than the last. A push of what the newest version
    holds already, byte for byte, makes no new version; so a node can be tried again.

    Model and index are one version: they appear by the same rename, and an index of another model
    is refused.

    Output `pushed_model`: a copy of the version but for its index, with TFX's custom properties
    `pushed` (1 or 0), `pushed_destination` (the version folder) and `pushed_version`, and with
    `pushed_extras`: what lies beside the model in the version, as JSON, by its path there where it
    was copied from. That is the index, the operating point where the Evaluator has written one
    beside its verdict, and the model card where ReportGen has written one.

    Source: `tfx.components.pusher.component.Pusher`.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: BaseChannel,
        push_destination: pusher_pb2.PushDestination | data_types.RuntimeParameter,
        model_blessing: BaseChannel | None = None,
        keep_versions: int = 0,
        index: BaseChannel | None = None,
        report: BaseChannel | None = None,
        nearest_up_to: int = 0,
    ) -> None:
        """Describes the node.

        Args:
            model: Of type Model, from Trainer.
            push_destination: A file system; a local one for the guarantee above. One pipeline for
                one folder.
            model_blessing: Of type ModelBlessing, from Evaluator; without it every model is pushed.
            keep_versions: After a push, only so many of the newest versions stay; 0 for all.
            index: Of type Index, from IndexGen; without it a version is a model alone.
            report: Of type EvaluationReport, from ReportGen, with the model card.
            nearest_up_to: A gallery of at most so many images goes into the signature `nearest`.

        Raises:
            ValueError: `keep_versions` is negative.
        """
        if keep_versions < 0:
            raise ValueError(f"keep_versions must be at least 0 (0 keeps all), not {keep_versions}")
        custom_config = {
            executor.KEEP_VERSIONS_KEY: keep_versions,
            executor.NEAREST_UP_TO_KEY: nearest_up_to,
        }
        spec = PusherSpec(
            model=model,
            model_blessing=model_blessing,
            index=index,
            report=report,
            push_destination=push_destination,
            custom_config=json_utils.dumps(custom_config),
            pushed_model=Channel(type=standard_artifacts.PushedModel),
        )
        # Past TFX's own __init__, which would build TFX's specification.
        super(tfx_component.Pusher, self).__init__(spec=spec)
