"""StatisticsGen and ExampleValidator through their real executors."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import channel, standard_artifacts

from components.example_validator import ExampleValidator, executor as validator_executor
from components.statistics_gen import StatisticsGen, executor as statistics_executor
from pipeline.schema import contract_schema, statistics_options
from tests.real_data import BEAM_ARGS, Row, png


def make_statistics(
    folder: Path, examples: standard_artifacts.Examples
) -> standard_artifacts.ExampleStatistics:
    """Runs StatisticsGen with the options of the pipeline."""
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder / "statistics")
    node = StatisticsGen(
        channel.Channel(standard_artifacts.Examples), stats_options=statistics_options()
    )
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    statistics_executor.Executor(context).Do(
        {"examples": [examples]}, {"statistics": [artifact]}, dict(node.exec_properties)
    )
    return artifact


def load(
    statistics: standard_artifacts.ExampleStatistics, split: str
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """The statistics of a split by feature."""
    (dataset,) = stats_artifact_utils.load_statistics(statistics, split).proto().datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def validate_statistics(
    statistics: standard_artifacts.ExampleStatistics,
    folder: Path,
    *,
    schema: schema_pb2.Schema | None = None,
    previous: standard_artifacts.ExampleStatistics | None = None,
    **settings,
):
    """Runs ExampleValidator; returns the anomalies and what the executor returned."""
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder / "schema")
    (folder / "schema").mkdir(exist_ok=True)
    (folder / "schema" / "schema.pbtxt").write_text(str(schema or contract_schema()))
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(folder / "anomalies")
    node = ExampleValidator(
        channel.Channel(standard_artifacts.ExampleStatistics),
        channel.Channel(standard_artifacts.Schema),
        **settings,
    )
    result = validator_executor.Executor().Do(
        {
            "statistics": [statistics],
            "schema": [artifact],
            "previous_statistics": [previous] if previous else [],
        },
        {"anomalies": [anomalies]},
        dict(node.exec_properties),
    )
    return anomalies, result


def redrawn(rows: list[Row], change: Callable[[np.ndarray], np.ndarray]) -> list[Row]:
    """The rows with other pixels (uint8 [28, 28])."""
    return [(png(change(np.asarray(Image.open(io.BytesIO(i))))), *rest) for i, *rest in rows]
