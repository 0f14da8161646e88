"""The node ExampleValidator."""

from __future__ import annotations

from collections.abc import Mapping
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


class ExampleValidatorSpec(specs.ExampleValidatorSpec):
    """TFX's spec with statistics to compare with, and thresholds."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **specs.ExampleValidatorSpec.PARAMETERS,
        executor.DRIFT: component_spec.ExecutionParameter(type=str),
        executor.SKEW: component_spec.ExecutionParameter(type=str),
        executor.MIN_EXAMPLES: component_spec.ExecutionParameter(type=int),
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
        drift: Mapping[str, float] | None = None,
        skew: Mapping[str, float] | None = None,
        min_examples: int = 0,
    ) -> None:
        """Configures the node.

        Args:
            statistics: Of the current examples, by our StatisticsGen.
            schema: To validate against. Features that StatisticsGen derived need not be in it.
            previous_statistics: Of an earlier span, or nothing.
            exclude_splits: Names of splits to leave out.
            drift: Threshold by feature, for features without a comparator in the schema; features
                that the examples do not have are ignored.
            skew: The same for train against eval.
            min_examples: Splits with fewer examples, on either side of a comparison, are compared
                by the schema's own comparators only: chance alone would exceed a threshold.

        Raises:
            ValueError: A threshold that is not positive, or a negative number of examples.
        """
        thresholds = [*(drift or {}).items(), *(skew or {}).items()]
        if wrong := [f"{name} = {value}" for name, value in thresholds if not value > 0]:
            raise ValueError(
                f"Thresholds of drift and skew must be positive: {', '.join(wrong)}. Leave a "
                "feature out to allow any change."
            )
        if min_examples < 0:
            raise ValueError(f"min_examples is {min_examples}, expected at least 0.")
        spec = ExampleValidatorSpec(
            statistics=statistics,
            schema=schema,
            previous_statistics=previous_statistics,
            exclude_splits=json_utils.dumps(exclude_splits or []),
            drift=json_utils.dumps(dict(sorted((drift or {}).items()))),
            skew=json_utils.dumps(dict(sorted((skew or {}).items()))),
            min_examples=min_examples,
            anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        )
        base_component.BaseComponent.__init__(self, spec)  # TFX's own makes its own spec
