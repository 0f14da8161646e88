"""Validation of the statistics of one split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2, statistics_pb2

from components.example_validator.class_changes import (
    ClassChanges,
    common_statistics,
    find_feature,
    replace_counts,
)
from modules.contract import LABEL
from modules.settings import ValidationSettings

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_Type = anomalies_pb2.AnomalyInfo.Type
_Feature = statistics_pb2.FeatureNameStatistics
COMPARATORS = {
    _Type.COMPARATOR_CONTROL_DATA_MISSING,
    _Type.COMPARATOR_TREATMENT_DATA_MISSING,
    _Type.COMPARATOR_L_INFTY_HIGH,
    _Type.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    _Type.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH,
}


def validate_split(
    statistics: Statistics,
    schema: schema_pb2.Schema,
    settings: ValidationSettings,
    previous: Statistics | None = None,
    serving: Statistics | None = None,
    further_features: bool = False,
    needs_pairs: bool = False,
) -> tuple[anomalies_pb2.Anomalies, ClassChanges | None]:
    """Validates a split, and compares it with others.

    Args:
        statistics: Of the split; one data set.
        schema: As it was given; features that StatisticsGen derived may be missing in it.
        settings: Thresholds for features without a comparator in the schema.
        previous: Of the same split of the previous span; drift.
        serving: Of another split of this span; skew.
        further_features: Whether features that the schema does not name may be there; then every
            example must have one value.
        needs_pairs: Whether a class must have two images, since these images look for each other.

    Returns:
        What `tfdv.validate_statistics` found, and further findings in the same form: images that
        cannot be decoded, features that vanished, and no pairs where they are needed. How the
        classes changed, where that is known.
    """
    (dataset,) = statistics.datasets
    if further_features:
        schema = _with_further(schema, dataset)
    previous = previous if previous and _examples(previous) else None
    serving = serving if serving and _examples(serving) else None
    anomalies = tfdv.validate_statistics(
        statistics,
        _complete(
            schema,
            statistics,
            "skew_comparator",
            settings.skew.by_feature(),
            serving,
            settings.min_examples,
        ),
        serving_statistics=serving,
    )
    if serving:
        _explain(anomalies, dataset, serving.datasets[0], None)
    _add_undecodable(anomalies, dataset, schema)
    if needs_pairs:
        _add_no_pairs(anomalies, dataset)
    changes = None
    if previous and dataset.num_examples:
        changes = ClassChanges.of(dataset, previous.datasets[0])
        current = replace_counts(statistics, changes.neutral_to_new()) if changes else statistics
        # Apart from the first: of a closed list of classes the new ones must be seen.
        drift = tfdv.validate_statistics(
            current,
            _complete(
                schema,
                statistics,
                "drift_comparator",
                settings.drift.by_feature(),
                previous,
                settings.min_examples,
            ),
            previous_statistics=previous,
        )
        _explain(drift, dataset, previous.datasets[0], changes)
        for name, info in drift.anomaly_info.items():
            _add(anomalies, name, [r for r in info.reason if r.type in COMPARATORS])
        anomalies.drift_skew_info.extend(drift.drift_skew_info)
        _add_vanished(anomalies, dataset, previous.datasets[0])
    return anomalies, changes


def _examples(statistics: Statistics) -> float:
    return sum(dataset.num_examples for dataset in statistics.datasets)


def _complete(
    schema: schema_pb2.Schema,
    statistics: Statistics,
    comparator: str,
    by_feature: Mapping[str, float],
    others: Statistics | None,
    min_examples: int,
) -> schema_pb2.Schema:
    """The schema with the derived features, and with comparators where it has none of its own."""
    complete = schema_pb2.Schema()
    complete.CopyFrom(schema)
    features = {feature.name: feature for feature in complete.feature}
    for found in statistics.datasets[0].features:
        name = found.path.step[0]
        if name not in features and found.HasField("validation_derived_source"):
            features[name] = complete.feature.add(
                name=name,
                type=schema_pb2.FLOAT if found.type == found.FLOAT else schema_pb2.INT,
                lifecycle_stage=schema_pb2.VALIDATION_DERIVED,
                validation_derived_source=found.validation_derived_source,
            )
    if others is None:
        return complete
    if min(_examples(statistics), _examples(others)) < min_examples:
        return complete
    for name, threshold in by_feature.items():
        found = find_feature(statistics.datasets[0], name)
        other = find_feature(others.datasets[0], name)
        feature = features.get(name)
        if not (found and other and feature) or feature.HasField(comparator):
            continue
        if found.WhichOneof("stats") == "num_stats":
            getattr(feature, comparator).jensen_shannon_divergence.threshold = threshold
        else:
            getattr(feature, comparator).infinity_norm.threshold = threshold
    return complete


def _with_further(
    schema: schema_pb2.Schema, dataset: statistics_pb2.DatasetFeatureStatistics
) -> schema_pb2.Schema:
    """The schema with the features that it does not name, one value in every example."""
    extended = schema_pb2.Schema()
    extended.CopyFrom(schema)
    kinds = {_Feature.INT: schema_pb2.INT, _Feature.FLOAT: schema_pb2.FLOAT}
    named = {feature.name for feature in schema.feature}
    for found in dataset.features:
        name = found.path.step[0]
        if name not in named and not found.HasField("validation_derived_source"):
            feature = extended.feature.add(name=name, type=kinds.get(found.type, schema_pb2.BYTES))
            feature.presence.min_fraction = 1
            feature.shape.dim.add(size=1)
    return extended


def _add(
    anomalies: anomalies_pb2.Anomalies, name: str, reasons: list[anomalies_pb2.AnomalyInfo.Reason]
) -> None:
    """Adds reasons to what was found about a feature, and sums them up as TFDV does."""
    if not reasons:
        return
    info = anomalies.anomaly_info[name]
    info.path.CopyFrom(path_pb2.Path(step=[name]))
    info.severity = anomalies_pb2.AnomalyInfo.ERROR
    info.reason.extend(reasons)
    _sum_up(info)


def _sum_up(info: anomalies_pb2.AnomalyInfo) -> None:
    texts = [reason.short_description for reason in info.reason]
    info.short_description = texts[0] if len(texts) == 1 else "Multiple errors"
    info.description = " ".join(reason.description for reason in info.reason)


def _add_undecodable(
    anomalies: anomalies_pb2.Anomalies,
    dataset: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
) -> None:
    """TFDV looks at the first bytes of images, and says nothing when hardly any is one."""
    for feature in schema.feature:
        least = feature.image_domain.minimum_supported_image_fraction
        found = find_feature(dataset, feature.name)
        if not least or not found or found.WhichOneof("stats") != "bytes_stats":
            continue
        total = common_statistics(found).num_non_missing
        derived = [
            common_statistics(other).num_non_missing
            for other in dataset.features
            if [list(p.step) for p in other.validation_derived_source.source_path]
            == [[feature.name]]
        ]
        decoded = max(derived, default=0)
        if decoded < least * total and feature.name not in anomalies.anomaly_info:
            reason = anomalies_pb2.AnomalyInfo.Reason(
                type=_Type.LOW_SUPPORTED_IMAGE_FRACTION,
                short_description="Not images",
                description=f"{total - decoded} of {total} values cannot be decoded by TensorFlow, "
                f"at least {least:.0%} must be.",
            )
            _add(anomalies, feature.name, [reason])


def _add_no_pairs(
    anomalies: anomalies_pb2.Anomalies, dataset: statistics_pb2.DatasetFeatureStatistics
) -> None:
    """Told before the training: without a pair no query has a right answer and no score."""
    label = find_feature(dataset, LABEL)
    if label is None or not 0 < dataset.num_examples == label.string_stats.unique:
        return
    reason = anomalies_pb2.AnomalyInfo.Reason(
        type=_Type.UNKNOWN_TYPE,
        short_description="No pairs",
        description=f"Each of the {dataset.num_examples} classes has one image, so no query has a "
        "right answer among the others. Add images, or let queries search in another split "
        "([evaluation] gallery_split).",
    )
    _add(anomalies, LABEL, [reason])


def _add_vanished(
    anomalies: anomalies_pb2.Anomalies,
    dataset: statistics_pb2.DatasetFeatureStatistics,
    previous: statistics_pb2.DatasetFeatureStatistics,
) -> None:
    """Features of the previous span that no example has any more, unless the schema says it."""
    for feature in previous.features:
        name = feature.path.step[0]
        before = common_statistics(feature).num_non_missing
        derived = feature.HasField("validation_derived_source")
        if derived or not before or find_feature(dataset, name) or name in anomalies.anomaly_info:
            continue
        reason = anomalies_pb2.AnomalyInfo.Reason(
            type=_Type.SCHEMA_MISSING_COLUMN,
            short_description="Vanished",
            description=f"{before} of {previous.num_examples} examples of the previous span have "
            "this feature, none of this one has.",
        )
        _add(anomalies, name, [reason])


def _explain(
    anomalies: anomalies_pb2.Anomalies,
    dataset: statistics_pb2.DatasetFeatureStatistics,
    other: statistics_pb2.DatasetFeatureStatistics,
    changes: ClassChanges | None,
) -> None:
    """Adds to what a comparison found how the two sides differ."""
    for name, info in anomalies.anomaly_info.items():
        here, there = find_feature(dataset, name), find_feature(other, name)
        if name == LABEL and changes:
            text = changes.describe()
        elif here and there and here.HasField("num_stats") and there.HasField("num_stats"):
            text = f"Here {_numbers(here.num_stats)}; there {_numbers(there.num_stats)}."
        else:
            continue
        for reason in info.reason:
            if reason.type in COMPARATORS:
                reason.description = f"{reason.description.rstrip('.')}. {text}"
        _sum_up(info)


def _numbers(stats: statistics_pb2.NumericStatistics) -> str:
    return f"mean {stats.mean:.3g} ± {stats.std_dev:.2g}, {stats.min:.3g} to {stats.max:.3g}"
