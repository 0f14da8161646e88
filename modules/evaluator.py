"""The module_file of TFX Evaluator: raw examples in, retrieval metrics per slice out.

TFMA scores each example by itself; retrieval needs all of them at once. So the extractors are

1. ExtractEmbeddings: record batches of serialized tf.Examples through every model's signature.
   Images end here: what goes on is ids, labels, the features that slices ask for, embeddings.
2. ExtractRetrievalScores: the whole split becomes the gallery, and each query's `predictions`
   become its row of scores (`modules.retrieval`).
3. TFMA's own UnbatchExtractor and SliceKeyExtractor.

`modules.retrieval_extractors` holds the first two. `modules.retrieval_metrics` averages the rows
per slice. `make_eval_config` writes the tfma.EvalConfig that fits them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from modules.contract import ID, LABEL
from modules.retrieval import score_names
from modules.retrieval_extractors import SIGNATURE, ExtractEmbeddings, ExtractRetrievalScores

METRIC_CLASS = "RetrievalMetrics"
METRIC_MODULE = "modules.retrieval_metrics"


def make_eval_config(
    ks: Sequence[int] = (1, 5, 10),
    thresholds: Mapping[str, Any] | None = None,
    slice_by: Sequence[str] = (LABEL,),
) -> config_pb2.EvalConfig:
    """Writes the configuration that fits the extractors of this module.

    Thresholds bind to the whole split, never to its slices (a small class would decide), and a
    candidate with a NaN or infinite embedding is never blessed. Without thresholds TFX blesses
    nothing.

    Args:
        ks: The values of k.
        thresholds: Per metric name of `modules.retrieval.score_names(ks)` a mapping or an object
            with `lower`, the least value, and `max_drop`, how far the candidate may be below the
            last blessed model; each may be missing or None. A first model has nothing to drop
            from: it passes `max_drop`.
        slice_by: Features to slice by, one value per example; each gives one slice per value.

    Returns:
        The EvalConfig for one candidate; TFX adds the baseline by itself.

    Raises:
        ValueError: Wrong `ks`, an unknown metric name, or a threshold that bounds nothing.
    """
    known = score_names(ks)
    bounds = {}
    for name, threshold in (thresholds or {}).items():
        if name not in known:
            # TFMA would look for that name, find no such metric, and bless nothing, silently.
            raise ValueError(f"no metric {name!r} to put a threshold on; there are {known}")
        bounds[name] = _metric_threshold(name, threshold)
    if bounds:
        none = config_pb2.GenericValueThreshold(upper_bound=DoubleValue(value=0))
        bounds["non_finite_embeddings"] = config_pb2.MetricThreshold(value_threshold=none)
    metric = config_pb2.MetricConfig(
        class_name=METRIC_CLASS, module=METRIC_MODULE, config=json.dumps({"ks": list(ks)})
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
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[metric],
                # MetricsSpec.thresholds would bind to every slice.
                per_slice_thresholds={
                    name: _on_whole_split(threshold) for name, threshold in bounds.items()
                },
            )
        ],
        options=config_pb2.Options(include_default_metrics=BoolValue(value=False)),
    )


def _metric_threshold(name: str, threshold: Any) -> config_pb2.MetricThreshold:
    """One metric's `lower` and `max_drop` as TFMA has them."""
    if isinstance(threshold, Mapping):
        fields = threshold
    else:
        fields = {"lower": threshold.lower, "max_drop": threshold.max_drop}
    lower, max_drop = fields.get("lower"), fields.get("max_drop")
    if (lower is None and max_drop is None) or set(fields) - {"lower", "max_drop"}:
        raise ValueError(
            f"the threshold of {name!r} takes `lower`, `max_drop` or both, got {dict(fields)}"
        )
    # TFX drops change thresholds when there is no baseline. 0 is no bound on these metrics, but it
    # still stops a first model whose mean is NaN because no query had a positive.
    result = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound=DoubleValue(value=lower or 0))
    )
    if max_drop is not None:
        result.change_threshold.absolute.value = -max_drop
        result.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
    return result


def _on_whole_split(threshold: config_pb2.MetricThreshold) -> config_pb2.PerSliceMetricThresholds:
    """Binds a threshold to the overall slice alone."""
    overall = config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
    )
    return config_pb2.PerSliceMetricThresholds(thresholds=[overall])


def custom_extractors(
    eval_shared_model: tfma.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: TensorAdapterConfig | None,
) -> list[tfma.extractors.Extractor]:
    """Builds the extractors; TFX Evaluator calls this.

    Args:
        eval_shared_model: The candidate, or a list of candidate and baseline.
        eval_config: As `make_eval_config` writes it, model names filled in by TFX.
        tensor_adapter_config: Not needed: features are read from the record batches as they are.

    Returns:
        The extractors in order.

    Raises:
        ValueError: The eval_config has no RetrievalMetrics, or several with different ks.
    """
    del tensor_adapter_config
    ks = _configured_ks(eval_config)
    slices = {key for spec in eval_config.slicing_specs for key in spec.feature_keys}
    slices |= {key for spec in eval_config.slicing_specs for key in spec.feature_values}
    return [
        tfma.extractors.Extractor(
            stage_name="ExtractEmbeddings",
            ptransform=ExtractEmbeddings(
                models=tfma.utils.verify_and_update_eval_shared_models(eval_shared_model),
                eval_config=eval_config,
                features=sorted({ID, LABEL, *slices}),
            ),
        ),
        tfma.extractors.Extractor(
            stage_name="ExtractRetrievalScores",
            ptransform=ExtractRetrievalScores(ks),
        ),
        tfma.extractors.UnbatchExtractor(),
        tfma.extractors.SliceKeyExtractor(eval_config=eval_config, materialize=False),
    ]


def _configured_ks(eval_config: config_pb2.EvalConfig) -> list[int]:
    """The ks of the one RetrievalMetrics in the configuration."""
    found = {
        tuple(json.loads(metric.config)["ks"])
        for spec in eval_config.metrics_specs
        for metric in spec.metrics
        if metric.class_name == METRIC_CLASS
    }
    if len(found) != 1:
        raise ValueError(
            f"the eval_config needs one list of ks for {METRIC_CLASS}, found {sorted(found)}: "
            "make it with modules.evaluator.make_eval_config"
        )
    return list(found.pop())
