"""The module_file of TFX Evaluator: raw examples in, retrieval metrics per slice out.

TFMA scores each example by itself; retrieval needs all of them at once. So the extractors are

1. ExtractEmbeddings: record batches of serialized tf.Examples through every model's signature.
   Images end here: what goes on is ids, labels, the features that slices ask for, embeddings.
2. ExtractRetrievalScores: each query becomes its row of scores (`modules.retrieval.in_memory`); the gallery
   is the whole split, or the files that the configuration names. One more extract holds the metrics
   of all queries together.
3. TFMA's own SliceKeyExtractor.

`modules.retrieval.extractors` holds the first two. `modules.retrieval.metrics` averages the rows
per slice. `modules.gate.eval_config` writes the tfma.EvalConfig that fits them.
"""

from __future__ import annotations

import json
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from modules.contract import ID, LABEL
from modules.gate import METRIC_CLASS
from modules.retrieval import (
    EmbedGallery,
    ExtractEmbeddings,
    ExtractRetrievalScores,
    RetrievalMetrics,
)


def custom_extractors(
    eval_shared_model: tfma.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: TensorAdapterConfig | None,
) -> list[tfma.extractors.Extractor]:
    """Builds the extractors; TFX Evaluator calls this.

    Args:
        eval_shared_model: The candidate, or a list of candidate and baseline.
        eval_config: As `modules.gate.eval_config.make_eval_config` writes it, model names filled in by TFX.
        tensor_adapter_config: Not needed: features are read from the record batches as they are.

    Returns:
        The extractors in order.

    Raises:
        ValueError: The eval_config has no RetrievalMetrics, or several that differ, or wrong
            settings for it.
    """
    del tensor_adapter_config
    settings = _configured(eval_config)
    models = tfma.utils.verify_and_update_eval_shared_models(eval_shared_model)
    gallery = None
    if settings["gallery_files"]:
        gallery = EmbedGallery(settings["gallery_files"], models, eval_config)
    slices = {key for spec in eval_config.slicing_specs for key in spec.feature_keys}
    slices |= {key for spec in eval_config.slicing_specs for key in spec.feature_values}
    return [
        tfma.extractors.Extractor(
            stage_name="ExtractEmbeddings",
            ptransform=ExtractEmbeddings(
                models=models, eval_config=eval_config, features=sorted({ID, LABEL, *slices})
            ),
        ),
        tfma.extractors.Extractor(
            stage_name="ExtractRetrievalScores",
            ptransform=ExtractRetrievalScores(
                settings["ks"],
                verification=settings["verification"],
                clustering=settings["clustering"],
                gallery=gallery,
            ),
        ),
        tfma.extractors.SliceKeyExtractor(eval_config=eval_config, materialize=False),
    ]


def _configured(eval_config: config_pb2.EvalConfig) -> dict[str, Any]:
    """The settings of the one RetrievalMetrics in the configuration, defaults filled in."""
    found = {
        json.dumps(RetrievalMetrics(**json.loads(metric.config or "{}")).get_config())
        for spec in eval_config.metrics_specs
        for metric in spec.metrics
        if metric.class_name == METRIC_CLASS
    }
    if len(found) != 1:
        raise ValueError(
            f"the eval_config needs {METRIC_CLASS} with one configuration, found {sorted(found)}: "
            "make it with modules.gate.eval_config.make_eval_config"
        )
    return json.loads(found.pop())
