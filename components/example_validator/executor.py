"""The executor of ExampleValidator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs as specs
from tfx.utils import io_utils, json_utils, writer_utils

from components.example_validator.class_changes import ClassChanges
from components.example_validator.validation import COMPARATORS, validate_split
from modules.settings import ValidationSettings

PREVIOUS_STATISTICS, SETTINGS = "previous_statistics", "settings"
FURTHER_FEATURES = "further_features"
EVAL_IS_GALLERY = "eval_is_gallery"
DRIFT, SKEW = "drift", "skew"  # what was measured, by split and feature
_CLASSES = ("new_classes", "vanished_classes")
_TRAIN, _EVAL = "train", "eval"


class Executor(tfx_executor.Executor):
    """Validates, and raises when there are anomalies.

    Source: `tfx.components.example_validator.executor.Executor`, whose `Do` has no place for other
    statistics to compare with; the files and `blessed` are as it writes them.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates each split that is not excluded.

        Args:
            input_dict: `statistics` and `schema`, one artifact each; `previous_statistics`, at most
                one.
            output_dict: `anomalies`, one artifact.
            exec_properties: `exclude_splits` and `settings` as JSON, `further_features`,
                `eval_is_gallery`; see `ExampleValidator`.

        Returns:
            The output artifact with its properties.

        Raises:
            ValueError: A split has anomalies, or no example at all; every one is named.
        """
        statistics = artifact_utils.get_single_instance(input_dict[specs.STATISTICS_KEY])
        previous = next(iter(input_dict.get(PREVIOUS_STATISTICS) or []), None)
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(
                artifact_utils.get_single_uri(input_dict[specs.SCHEMA_KEY])
            )
        )
        settings = ValidationSettings.model_validate_json(exec_properties[SETTINGS])
        excluded = json_utils.loads(exec_properties.get(specs.EXCLUDE_SPLITS_KEY) or "[]")
        splits = [split for split in _splits(statistics) if split not in excluded]
        output = artifact_utils.get_single_instance(output_dict[specs.ANOMALIES_KEY])
        output.split_names = artifact_utils.encode_split_names(splits)
        output.span = statistics.span

        anomalies, changes = {}, {}
        for split in splits:
            anomalies[split], changes[split] = validate_split(
                _load(statistics, split),
                schema,
                settings,
                previous=_load(previous, split),
                serving=_load(statistics, _EVAL) if split == _TRAIN and _EVAL in splits else None,
                further_features=bool(exec_properties.get(FURTHER_FEATURES)),
                needs_pairs=split == _EVAL and bool(exec_properties.get(EVAL_IS_GALLERY)),
            )
            uri = artifact_utils.get_split_uri([output], split)
            writer_utils.write_anomalies(
                os.path.join(uri, tfx_executor.DEFAULT_FILE_NAME),  # noqa: PTH118 — may be a URI
                anomalies[split],
            )
        findings = {split: list(_in_words(anomalies[split])) for split in splits}
        properties: dict[str, Any] = {
            tfx_executor.ARTIFACT_PROPERTY_BLESSED_KEY: {
                split: tfx_executor.NOT_BLESSED_VALUE
                if findings[split]
                else tfx_executor.BLESSED_VALUE
                for split in splits
            },
            DRIFT: _measured(anomalies, "drift_measurements"),
            SKEW: _measured(anomalies, "skew_measurements"),
        }
        for name, value in properties.items():
            output.set_json_value_custom_property(name, value)
        known = [change for change in changes.values() if change]
        if len(known) == len(changes):
            total = ClassChanges.sum(known)
            for name, classes in zip(_CLASSES, total.named(), strict=True):
                if classes:
                    properties[name] = ", ".join(classes)
                    output.set_string_custom_property(name, properties[name])
        if previous:
            output.set_int_custom_property("previous_span", previous.span)
        logging.info("Validation of span %d: %s", statistics.span, properties)
        if any(findings.values()):
            raise ValueError(_message(findings, anomalies, previous))
        result = execution_result_pb2.ExecutorOutput()
        result.output_artifacts[specs.ANOMALIES_KEY].artifacts.append(output.mlmd_artifact)
        return result


def _splits(statistics: types.Artifact) -> list[str]:
    return artifact_utils.decode_split_names(statistics.split_names)


def _load(
    statistics: types.Artifact | None, split: str
) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    """The statistics of a split; None if there are none."""
    if statistics is None or split not in _splits(statistics):
        return None
    return stats_artifact_utils.load_statistics(statistics, split).proto()


def _measured(
    anomalies: dict[str, anomalies_pb2.Anomalies], kind: str
) -> dict[str, dict[str, float]]:
    """The distances that were measured, by split and feature."""
    measured = {
        split: {
            info.path.step[0]: round(measurement.value, 6)
            for info in found.drift_skew_info
            for measurement in getattr(info, kind)
        }
        for split, found in anomalies.items()
    }
    return {split: values for split, values in measured.items() if values}


def _in_words(anomalies: anomalies_pb2.Anomalies) -> Iterator[str]:
    """Yields one line for each thing that was found in one split."""
    if anomalies.data_missing:
        yield "no example at all"
    for feature, info in sorted(anomalies.anomaly_info.items()):
        yield f"feature {feature!r}: {info.short_description}. {info.description}"
    if anomalies.HasField("dataset_anomaly_info"):
        info = anomalies.dataset_anomaly_info
        yield f"the data set: {info.short_description}. {info.description}"


def _message(
    findings: dict[str, list[str]],
    anomalies: dict[str, anomalies_pb2.Anomalies],
    previous: types.Artifact | None,
) -> str:
    lines = [f"  split {split!r}, {line}" for split, found in findings.items() for line in found]
    compared = any(
        reason.type in COMPARATORS
        for found in anomalies.values()
        for info in found.anomaly_info.values()
        for reason in info.reason
    )
    remedy = ["Correct the data, or the schema if it is the one that is wrong."]
    if compared:
        earlier = f" Previous span: {previous.span}." if previous else ""
        remedy = [
            f"{remedy[0]}{earlier} If the change is wanted, raise the threshold of drift or skew "
            "until the span has passed."
        ]
    return "\n".join(["The examples do not fit the schema:", *lines, *remedy])
