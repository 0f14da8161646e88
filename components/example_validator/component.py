"""The node ExampleValidator."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx.components import ExampleValidator as TfxExampleValidator
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import (
    BaseChannel,
    Channel,
    component_spec,
    standard_artifacts,
    standard_component_specs as specs,
)
from tfx.utils import json_utils

from components.example_validator import executor
from modules.settings import ValidationSettings


class ExampleValidatorSpec(specs.ExampleValidatorSpec):
    """TFX's spec with statistics to compare with, and thresholds."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **specs.ExampleValidatorSpec.PARAMETERS,
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.FURTHER_FEATURES: component_spec.ExecutionParameter(type=int),
        executor.EVAL_IS_GALLERY: component_spec.ExecutionParameter(type=int),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        **specs.ExampleValidatorSpec.INPUTS,
        executor.PREVIOUS_STATISTICS: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }


class ExampleValidator(TfxExampleValidator):
    """Validates statistics against the schema, and fails when a split has an anomaly.

    TFX's own node only records anomalies, so the run would go on with bad data; nor does it compare
    with an earlier span, or one split with another, as TFDV can. Here

    * drift: each split is compared with the same split of the previous span;
    * skew: the split `train` is compared with `eval`.

    What differs too much is an anomaly, by the comparators of the schema; a feature whose schema
    has none gets the threshold given here. The measures are TFDV's: for text the L-infinity norm,
    the largest change of the share of a value; for numbers the Jensen-Shannon divergence, 0 (same)
    to 1 (nothing in common). New classes count neither for nor against drift of the label. A
    feature that has vanished since the previous span is an anomaly, whatever the schema says.

    The output `anomalies` carries the custom properties `blessed` (TFX's, by split), `drift` and
    `skew` (what was measured, by split and feature), `previous_span` when there was one, and
    `new_classes` and `vanished_classes` (of all splits, at most 20 names) when there are any. Id
    and the other inputs are those of `tfx.components.ExampleValidator`.
    """

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: BaseChannel,
        schema: BaseChannel,
        previous_statistics: BaseChannel | None = None,
        exclude_splits: list[str] | None = None,
        settings: ValidationSettings | None = None,
        further_features: bool = False,
        eval_is_gallery: bool = False,
    ) -> None:
        """Configures the node.

        Args:
            statistics: Of the current examples, by our StatisticsGen.
            schema: To validate against. Features that StatisticsGen derived need not be in it.
            previous_statistics: Of an earlier span, or nothing.
            exclude_splits: Names of splits to leave out.
            settings: Thresholds of drift and skew, for features without a comparator in the
                schema. Features that the examples do not have are ignored. Default: those of
                `ValidationSettings`.
            further_features: Whether the examples may have features that the schema does not name,
                one value each.
            eval_is_gallery: Whether the queries of `eval` search in this split and no other. Then
                one of its classes must have two images. An eval split whose queries search
                elsewhere needs none.
        """
        spec = ExampleValidatorSpec(
            statistics=statistics,
            schema=schema,
            previous_statistics=previous_statistics,
            exclude_splits=json_utils.dumps(exclude_splits or []),
            settings=(settings or ValidationSettings()).model_dump_json(),
            further_features=int(further_features),
            eval_is_gallery=int(eval_is_gallery),
            anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        )
        base_component.BaseComponent.__init__(self, spec)  # TFX's own makes its own spec
