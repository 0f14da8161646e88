"""The TFX node TrainingDecision: does a new span need a new model?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.metadata import DECISION_KEY
from components.training_decision import executor


class Decision(types.Artifact):
    """Whether a span is trained on; its properties are named in `components.metadata.decisions`."""

    TYPE_NAME: ClassVar[str] = "TrainingDecision"


class TrainingDecisionSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of TrainingDecision."""

    PARAMETERS: ClassVar = {
        executor.TOLERATED_DROP_KEY: component_spec.ExecutionParameter(type=float),
        executor.MAX_SKIPS_KEY: component_spec.ExecutionParameter(type=int),
        executor.LEVEL_KEY: component_spec.ExecutionParameter(type=float),
        executor.GALLERY_SPLIT_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.EXCLUDE_SAME_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        executor.REFERENCE_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        executor.EARLIER_KEY: component_spec.ChannelParameter(type=Decision, optional=True),
    }
    OUTPUTS: ClassVar = {DECISION_KEY: component_spec.ChannelParameter(type=Decision)}


class TrainingDecision(base_component.BaseComponent):
    """Scores the served model on a new span and decides whether to train.

    The span is trained on if one of these holds, in this order:

    1. no blessed model is given, as in the first run;
    2. the last decision about this model was to train, and no better model has come of it;
    3. `max_skips` spans in a row were skipped, so that slow drift is trained on some day;
    4. the examples that the model was trained on are gone;
    5. the span has a class, to train or to evaluate on, that those do not have;
    6. P@1 or MAP@R of the span's eval images may have dropped by more than `tolerated_drop`: the
       interval of the change reaches below it (`components.training_decision.comparing`).

    Else the span is skipped: `pipeline.launch` leaves out every node of the run that waits for this
    one, directly or through others. TFX's own `Cond` would make the decision an input of all of
    them: part of the keys of their cache, so that a decision that is taken anew trains anew, and
    part of the lineage, where the served model would be one that the new model was made from.

    The output `decision` tells its span, `train` (0 or 1) and `why`; beside it lies
    `decision.json` with the figures.
    """

    SPEC_CLASS = TrainingDecisionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        tolerated_drop: float,
        max_skips: int,
        model: types.BaseChannel | None = None,
        reference: types.BaseChannel | None = None,
        earlier: types.BaseChannel | None = None,
        level: float = 0.95,
        gallery_split: str | None = None,
        exclude_same: Sequence[str] = (),
    ) -> None:
        """Constructs the node.

        Args:
            examples: The new span, one artifact of the data contract with a split `eval`.
            tolerated_drop: Of P@1 and of MAP@R, at least 0.
            max_skips: At least 1.
            model: The served model; with the next two from a Resolver with `ServedModelStrategy`.
            reference: The spans that it was trained on.
            earlier: The decisions about it, oldest first.
            level: Of the intervals.
            gallery_split: Split of the reference to search in; default: `eval`.
            exclude_same: Features by which images are no neighbours, see `docs/metrics.md`.
        """
        channels = {
            executor.MODEL_KEY: model,
            executor.REFERENCE_KEY: reference,
            executor.EARLIER_KEY: earlier,
        }
        super().__init__(
            spec=TrainingDecisionSpec(
                examples=examples,
                **{key: channel for key, channel in channels.items() if channel is not None},
                tolerated_drop=tolerated_drop,
                max_skips=max_skips,
                level=level,
                gallery_split=gallery_split,
                exclude_same=json.dumps(list(exclude_same)),
                decision=types.Channel(type=Decision),
            )
        )
