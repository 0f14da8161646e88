"""The node ExampleValidator."""

from __future__ import annotations

from tfx.components import ExampleValidator as TfxExampleValidator
from tfx.dsl.components.base import executor_spec

from components.example_validator import executor


class ExampleValidator(TfxExampleValidator):
    """Validates statistics against the schema, and fails when a split has an anomaly.

    TFX's own node only records anomalies, so the run would go on with bad data. Inputs, outputs,
    settings and id are the same as those of `tfx.components.ExampleValidator`.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
