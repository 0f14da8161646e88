"""The executor of ExampleValidator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

# TFDV tells images by their first bytes, and says nothing about formats below this many values or
# this share of images (image_stats_generator.py).
_IMAGE_VALUES, _IMAGE_FRACTION = 100, 0.8


class Executor(tfx_executor.Executor):
    """Runs TFX's executor, then raises when it found anomalies.

    Source: `tfx.components.example_validator.executor.Executor`.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates each split that is not excluded.

        Args:
            input_dict: `statistics` and `schema`, one artifact each.
            output_dict: `anomalies`, one artifact.
            exec_properties: `exclude_splits`, names as JSON.

        Returns:
            What TFX's executor returns.

        Raises:
            ValueError: A split has anomalies, or no example at all; every one is named.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        anomalies = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        statistics = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.STATISTICS_KEY]
        )
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(
                artifact_utils.get_single_uri(input_dict[standard_component_specs.SCHEMA_KEY])
            )
        )
        found = []
        for split in artifact_utils.decode_split_names(anomalies.split_names):
            uri = artifact_utils.get_split_uri([anomalies], split)
            stats = stats_artifact_utils.load_statistics(statistics, split).proto()
            found += [
                f"split {split!r}, {finding}"
                for finding in (*_anomalies(uri), *_unrecognised_images(stats, schema))
            ]
        if found:
            raise ValueError(
                "The examples do not fit the schema:\n  "
                + "\n  ".join(found)
                + "\nCorrect the data, or the schema if it is the one that is wrong."
            )
        return result


def _anomalies(uri: str) -> Iterator[str]:
    """Yields in words what TFX's executor has written for one split."""
    anomalies = anomalies_pb2.Anomalies()
    path = os.path.join(uri, tfx_executor.DEFAULT_FILE_NAME)  # noqa: PTH118 — may be a URI
    with fileio.open(path, "rb") as file:
        anomalies.ParseFromString(file.read())
    if anomalies.data_missing:
        yield "no example at all"
    for feature, info in sorted(anomalies.anomaly_info.items()):
        yield f"feature {feature!r}: {info.short_description}. {info.description}"
    if anomalies.HasField("dataset_anomaly_info"):
        info = anomalies.dataset_anomaly_info
        yield f"the data set: {info.short_description}. {info.description}"


def _unrecognised_images(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, schema: schema_pb2.Schema
) -> Iterator[str]:
    """Yields the features TFDV lets pass as images because hardly any value is one."""
    demanded = {
        feature.name
        for feature in schema.feature
        if feature.image_domain.minimum_supported_image_fraction > 0
    }
    for feature in (f for data in statistics.datasets for f in data.features):
        name = feature.path.step[0]
        values = feature.bytes_stats.common_stats.tot_num_values
        formats = any(stat.name == "image_format_histogram" for stat in feature.custom_stats)
        if name in demanded and values >= _IMAGE_VALUES and not formats:
            yield (
                f"feature {name!r}: Not images. Fewer than {_IMAGE_FRACTION:.0%} of its {values} "
                "values are images TensorFlow can read, or the statistics were made without "
                "enable_semantic_domain_stats."
            )
