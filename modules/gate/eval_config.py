"""The gate: which metrics a candidate must reach to be blessed, written as a tfma.EvalConfig."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2

from modules.contract import LABEL
from modules.gate.change_tests import ROUNDING, interval_thresholds
from modules.retrieval import (
    LOWER_IS_BETTER,
    NEVER,
    SIGNATURE,
    OperatingPointMetrics,
    RetrievalChanges,
)
from modules.settings import Confidence, EvaluationSettings, Threshold

METRIC_CLASS = "RetrievalMetrics"
METRIC_MODULE = "modules.retrieval.metrics"

_METHODS: dict[Confidence, config_pb2.ConfidenceIntervalOptions.ConfidenceIntervalMethod] = {
    "jackknife": config_pb2.ConfidenceIntervalOptions.JACKKNIFE,
    "poisson_bootstrap": config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP,
}


def make_eval_config(
    settings: EvaluationSettings, *, gallery_files: Sequence[str] | None = None
) -> config_pb2.EvalConfig:
    """Writes the configuration that fits the extractors of `modules.evaluator`.

    A candidate with a NaN or infinite embedding, of a query or in the gallery, or with an embedding
    that has collapsed to one point, is not blessed whatever the thresholds are.

    Args:
        settings: Metrics, slices and thresholds. `gallery_split` is the Evaluator's to resolve.
        gallery_files: Patterns of gzipped TFRecord files to search in. Default: the evaluated
            split.

    Returns:
        The EvalConfig for one candidate; TFX adds the baseline by itself.
    """
    bound: dict[str, config_pb2.PerSliceMetricThresholds] = {}
    for name, threshold in settings.thresholds.items():
        _bind(bound, name, threshold, config_pb2.SlicingSpec())
    for feature, thresholds in settings.slice_thresholds.items():
        for name, threshold in thresholds.items():
            _bind(bound, name, threshold, config_pb2.SlicingSpec(feature_keys=[feature]))
    for name in NEVER:
        _bind(bound, name, Threshold(upper=0), config_pb2.SlicingSpec())
    of_metric = {
        "ks": settings.ks,
        "verification": settings.verification,
        "clustering": settings.clustering,
        "gallery_files": None if gallery_files is None else list(gallery_files),
        "exclude_same": settings.exclude_same,
        "false_accept_rate": settings.false_accept_rate,
    }
    metric = config_pb2.MetricConfig(
        class_name=METRIC_CLASS, module=METRIC_MODULE, config=json.dumps(of_metric)
    )
    of_changes = {"ks": settings.ks, "level": settings.change_level}
    changes = config_pb2.MetricConfig(
        class_name=RetrievalChanges.__name__,
        module=RetrievalChanges.__module__,
        config=json.dumps(of_changes),
    )
    of_pairs = []
    if settings.false_accept_rate is not None:
        of_pairs.append(
            config_pb2.MetricConfig(
                class_name=OperatingPointMetrics.__name__, module=OperatingPointMetrics.__module__
            )
        )
    return config_pb2.EvalConfig(
        model_specs=[
            # The type, given, spares TFMA from trying to load the model with Keras.
            config_pb2.ModelSpec(
                signature_name=SIGNATURE, label_key=LABEL, model_type=constants.TF_GENERIC
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),  # the whole split
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in settings.slice_by),
        ],
        metrics_specs=[
            # MetricsSpec.thresholds would bind to every slice.
            config_pb2.MetricsSpec(metrics=[metric, changes, *of_pairs], per_slice_thresholds=bound)
        ],
        options=_options(settings.confidence),
    )


def _bind(
    bound: dict[str, config_pb2.PerSliceMetricThresholds],
    name: str,
    threshold: Threshold,
    slices: config_pb2.SlicingSpec,
) -> None:
    """Adds a threshold as TFMA has it, for some slices."""
    limits = config_pb2.GenericValueThreshold(
        # −∞ bounds nothing but NaN, which compares with nothing: an undefined metric fails.
        lower_bound=DoubleValue(value=-math.inf if threshold.lower is None else threshold.lower)
    )
    if threshold.upper is not None:
        limits.upper_bound.value = threshold.upper
    result = config_pb2.MetricThreshold(value_threshold=limits)
    if threshold.compares:
        less = name in LOWER_IS_BETTER
        change = result.change_threshold
        change.direction = (
            config_pb2.MetricDirection.LOWER_IS_BETTER
            if less
            else config_pb2.MetricDirection.HIGHER_IS_BETTER
        )
        for limit, drop in (
            (change.absolute, threshold.max_drop),
            (change.relative, threshold.max_relative_drop),
        ):
            if drop is not None:
                limit.value = drop + ROUNDING if less else -drop - ROUNDING
    _add(bound, name, result, slices)
    for end, change in interval_thresholds(name, threshold):
        _add(bound, end, config_pb2.MetricThreshold(change_threshold=change), slices)


def _add(
    bound: dict[str, config_pb2.PerSliceMetricThresholds],
    name: str,
    threshold: config_pb2.MetricThreshold,
    slices: config_pb2.SlicingSpec,
) -> None:
    bound.setdefault(name, config_pb2.PerSliceMetricThresholds()).thresholds.append(
        config_pb2.PerSliceMetricThreshold(slicing_specs=[slices], threshold=threshold)
    )


def _options(confidence: Confidence | None) -> config_pb2.Options:
    """TFMA's options: our metrics alone, and how to find confidence intervals."""
    options = config_pb2.Options(include_default_metrics=BoolValue(value=False))
    if confidence is not None:
        options.compute_confidence_intervals.value = True
        options.confidence_intervals.method = _METHODS[confidence]
    return options
