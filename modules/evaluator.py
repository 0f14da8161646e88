"""The module of TFX Evaluator: raw examples in, retrieval metrics per slice out.

TFMA scores each example by itself; retrieval needs all of them at once. So the extractors are

1. ExtractEmbeddings: record batches of serialized tf.Examples through every model's signature.
   Images end here: what goes on is ids, labels, embeddings, and the features that slices and the
   choice of neighbours ask for.
2. ExtractRetrievalScores: each query becomes its row of scores (`modules.retrieval.definitions`).
   The gallery is the whole split, or the files that the configuration names, and the distractors;
   the flags `is_query` and `is_gallery` say which of the examples count. One more extract holds
   the metrics of all queries together.
   Where there is a baseline, its searches go on across the two models (`modules.compatibility`);
   what they find is written to a folder that the configuration names.
3. TFMA's own SliceKeyExtractor.

`RetrievalMetrics` averages the rows per slice, and `OperatingPointMetrics` adds up the accepted
pairs. `modules.gate.make_eval_config` writes the tfma.EvalConfig that fits them. A sample of the
queries with their neighbours goes to a file, if that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from modules.compatibility import CompareResults, ScoreAcross
from modules.contract import ID, IS_GALLERY, IS_QUERY, LABEL
from modules.retrieval import (
    EmbedGallery,
    ExtractEmbeddings,
    ExtractRetrievalScores,
    Kept,
    read_metric_options,
)


def custom_extractors(
    eval_shared_model: tfma.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: TensorAdapterConfig | None,
) -> list[tfma.extractors.Extractor]:
    """Builds the extractors; TFX Evaluator calls this.

    Args:
        eval_shared_model: The candidate, or a list of candidate and baseline.
        eval_config: As `modules.gate.make_eval_config` writes it, model names filled in by TFX.
        tensor_adapter_config: Not needed: features are read from the record batches as they are.

    Returns:
        The extractors in order.

    Raises:
        ValueError: The eval_config has no RetrievalMetrics, or several that differ, or wrong
            options of it.
    """
    del tensor_adapter_config
    options = read_metric_options(eval_config)
    models = tfma.utils.verify_and_update_eval_shared_models(eval_shared_model)
    same: list[str] = options["exclude_same"]
    of_queries = [*same, *([IS_QUERY] if options["query_flag"] else [])]
    of_gallery = [*same, *([IS_GALLERY] if options["gallery_flag"] else [])]
    gallery, distractors = (
        EmbedGallery(options[files], models, eval_config, of_gallery) if options[files] else None
        for files in ("gallery_files", "distractor_files")
    )
    if gallery is None:
        of_queries += of_gallery
    slices = {key for spec in eval_config.slicing_specs for key in spec.feature_keys}
    slices |= {key for spec in eval_config.slicing_specs for key in spec.feature_values}
    return [
        tfma.extractors.Extractor(
            stage_name="ExtractEmbeddings",
            ptransform=ExtractEmbeddings(
                models=models,
                eval_config=eval_config,
                features=sorted({ID, LABEL, *slices, *of_queries}),
            ),
        ),
        tfma.extractors.Extractor(
            stage_name="ExtractRetrievalScores",
            ptransform=ExtractRetrievalScores(
                options["ks"],
                verification=options["verification"],
                false_accept_rate=options["false_accept_rate"],
                clustering=options["clustering"],
                gallery=gallery,
                distractors=distractors,
                exclude_same=same,
                query_flag=options["query_flag"],
                gallery_flag=options["gallery_flag"],
                kept=Kept(**options["kept"]) if options["kept"] else None,
                folder=options["embeddings_folder"],
                comparisons=_comparisons(options, models, eval_config),
            ),
        ),
        tfma.extractors.SliceKeyExtractor(eval_config=eval_config, materialize=False),
    ]


def _comparisons(
    options: dict[str, Any],
    models: Sequence[tfma.EvalSharedModel],
    eval_config: config_pb2.EvalConfig,
) -> dict[str, beam.PTransform]:
    """What `compatibility` of the options asks for; nothing without a baseline.

    Its keys: `folder`, where the results go; `crosses`, whether both models have one dimension;
    `paired_files` to learn a map from, `query_files` of logged queries, patterns both, none or
    more; `k` and `outside_quantile` of the latter.
    """
    asked = options["compatibility"]
    if not asked or len(models) < 2:
        return {}
    pair = constants.BASELINE_KEY, constants.CANDIDATE_KEY
    paired, logged = (
        EmbedGallery(asked[files], models, eval_config) if asked[files] else None
        for files in ("paired_files", "query_files")
    )
    found: dict[str, beam.PTransform] = {
        "ScoreAcross": ScoreAcross(
            *pair,
            options["ks"],
            asked["folder"],
            crosses=asked["crosses"],
            paired=paired,
            exclude_same=options["exclude_same"],
            embeddings=options["embeddings_folder"],
        )
    }
    if logged is not None:
        found["CompareResults"] = CompareResults(
            *pair,
            logged,
            asked["k"],
            asked["outside_quantile"],
            asked["folder"],
            options["embeddings_folder"],
        )
    return found
