"""The gate: which metrics a candidate must reach to be blessed, written as a tfma.EvalConfig."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2

from modules.contract import LABEL
from modules.retrieval import (
    LOWER_IS_BETTER,
    NEVER,
    SIGNATURE,
    WITHOUT_DIRECTION,
    slice_threshold_names,
    threshold_names,
)

METRIC_CLASS = "RetrievalMetrics"
METRIC_MODULE = "modules.retrieval.metrics"

# 0.94 − 0.95 is a little below −0.01 in binary: a drop of exactly what is allowed must pass.
_ROUNDING = 1e-9

Confidence = Literal["jackknife", "poisson_bootstrap"]


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What one metric must reach; each bound is inclusive, and None for no bound.

    "Worse" is lower, or higher for the metrics in `retrieval_names.LOWER_IS_BETTER`. A first model
    has nothing to be worse than: it passes `max_drop` and `max_relative_drop`.

    Attributes:
        lower: The least value.
        upper: The largest value.
        max_drop: How much worse than the last blessed model's the value may be.
        max_relative_drop: The same as a fraction of the last blessed model's value.
    """

    lower: float | None = None
    upper: float | None = None
    max_drop: float | None = None
    max_relative_drop: float | None = None

    def __post_init__(self) -> None:
        bounds = {name: value for name, value in vars(self).items() if value is not None}
        if not bounds:
            raise ValueError(f"takes at least one of {', '.join(vars(self))}")
        if wrong := {name: value for name, value in bounds.items() if not math.isfinite(value)}:
            raise ValueError(f"takes finite numbers, got {wrong}")
        if wrong := {name: v for name, v in bounds.items() if name.startswith("max") and v < 0}:
            raise ValueError(f"takes no negative drop, got {wrong}")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"has lower {self.lower} above upper {self.upper}: nothing passes")

    @property
    def compares(self) -> bool:
        """Whether it needs the last blessed model."""
        return self.max_drop is not None or self.max_relative_drop is not None


Thresholds = Mapping[str, Threshold | Mapping[str, float | None]]


def make_eval_config(
    ks: Sequence[int] = (1, 5, 10),
    thresholds: Thresholds | None = None,
    slice_by: Sequence[str] = (LABEL,),
    slice_thresholds: Mapping[str, Thresholds] | None = None,
    *,
    verification: bool = False,
    clustering: bool = False,
    gallery_files: Sequence[str] | None = None,
    confidence: Confidence | None = None,
) -> config_pb2.EvalConfig:
    """Writes the configuration that fits the extractors of `modules.evaluator`.

    With any threshold, a candidate with a NaN or infinite embedding, of a query or in the gallery,
    or with an embedding that has collapsed to one point, is not blessed. Without thresholds TFX
    blesses nothing.

    Args:
        ks: The values of k.
        thresholds: Per metric name a `Threshold` or a mapping of its fields. They bind to the
            whole split, never to its slices.
        slice_by: Features to slice by, one value per example; each gives one slice per value.
        slice_thresholds: Per feature in `slice_by`, thresholds that bind to each of its slices.
            `{"label": {"map@r": {"max_drop": 0.05}}}`: no class may lose more than 5 points.
        verification: Also compute the metrics of `modules.retrieval.verification`, of the whole split.
        clustering: Also compute the metrics of `modules.retrieval.clustering`, of the whole split.
        gallery_files: Patterns of gzipped TFRecords to search in; None: the evaluated split.
        confidence: How TFMA estimates confidence intervals, from 20 resamplings of the queries;
            None: it does not. The gate compares the metrics themselves all the same.

    Returns:
        The EvalConfig for one candidate; TFX adds the baseline by itself.

    Raises:
        ValueError: Wrong `ks`, an unknown metric name, a threshold that bounds nothing or nothing
            that exists, a feature without slices, or an unknown way of confidence.
    """
    known = threshold_names(ks, verification, clustering)
    of_slices = slice_threshold_names(ks)
    bound: dict[str, config_pb2.PerSliceMetricThresholds] = {}
    for name, threshold in (thresholds or {}).items():
        _bind(bound, name, _checked(name, threshold, known), config_pb2.SlicingSpec())
    for feature, of_feature in (slice_thresholds or {}).items():
        if feature not in slice_by:
            raise ValueError(
                f"slice_thresholds has {feature!r}, but there are slices by {list(slice_by)} only"
            )
        for name, threshold in of_feature.items():
            checked = _checked(name, threshold, of_slices, f"slices by {feature!r}")
            _bind(bound, name, checked, config_pb2.SlicingSpec(feature_keys=[feature]))
    for name in NEVER if bound else ():
        _bind(bound, name, Threshold(upper=0), config_pb2.SlicingSpec())
    settings = {
        "ks": list(ks),
        "verification": verification,
        "clustering": clustering,
        "gallery_files": None if gallery_files is None else list(gallery_files),
    }
    metric = config_pb2.MetricConfig(
        class_name=METRIC_CLASS, module=METRIC_MODULE, config=json.dumps(settings)
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
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in slice_by),
        ],
        # MetricsSpec.thresholds would bind to every slice.
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric], per_slice_thresholds=bound)],
        options=_options(confidence),
    )


def _checked(
    name: str, threshold: Threshold | Mapping, known: Sequence[str], where: str = "the whole split"
) -> Threshold:
    """The threshold of a metric that exists, its fields checked."""
    if name not in known:
        # TFMA would look for that name, find no such metric, and bless nothing, silently.
        raise ValueError(
            f"no metric {name!r} to put a threshold on for {where}; there are {list(known)}"
        )
    try:
        if isinstance(threshold, Mapping):
            threshold = Threshold(**threshold)
    except (TypeError, ValueError) as error:
        fields = ", ".join(field.name for field in dataclasses.fields(Threshold))
        raise ValueError(
            f"the threshold of {name!r} cannot be {dict(threshold)}: it takes {fields}; {error}"
        ) from error
    if threshold.compares and name in WITHOUT_DIRECTION:
        raise ValueError(f"neither way is better for {name!r}: it has no max_drop")
    return threshold


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
                limit.value = drop + _ROUNDING if less else -drop - _ROUNDING
    bound.setdefault(name, config_pb2.PerSliceMetricThresholds()).thresholds.append(
        config_pb2.PerSliceMetricThreshold(slicing_specs=[slices], threshold=result)
    )


def _options(confidence: str | None) -> config_pb2.Options:
    """TFMA's options: our metrics alone, and how to find confidence intervals."""
    options = config_pb2.Options(include_default_metrics=BoolValue(value=False))
    methods = {
        "jackknife": config_pb2.ConfidenceIntervalOptions.JACKKNIFE,
        "poisson_bootstrap": config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP,
    }
    if confidence is not None:
        if confidence not in methods:
            raise ValueError(f"confidence is one of {list(methods)} or None, not {confidence!r}")
        options.compute_confidence_intervals.value = True
        options.confidence_intervals.method = methods[confidence]
    return options
