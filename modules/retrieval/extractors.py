"""Beam transforms that turn examples into embeddings and embeddings into retrieval scores.

They speak TFMA's extracts (dicts), so they can stand in a list of TFMA extractors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.transforms.window import GlobalWindows
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from modules.contract import ID, IS_GALLERY, IS_QUERY, LABEL
from modules.retrieval.kept_queries import Kept
from modules.retrieval.rows import LabelledRows
from modules.retrieval.sets import MeasureSet, SetMetrics
from modules.retrieval.transforms import ScoredQueries, ScoreQueries
from modules.runtime import work_done

SCORES_KEY = "retrieval_scores"  # of a query: its row of scores by model name
ACCEPTS_KEY = "retrieval_accepts"  # of a query: its counts of pairs by model name
SET_KEY = "retrieval_set"  # of the one extract without a query: SetMetrics
SIGNATURE = "serving_default"
EMBEDDING = "embedding"

# Features by name, and scores and counts of pairs by model, of some queries.
_Scores = tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]

_EMBEDDING_BATCH = 256  # images in one call of a model, unless ModelSpec.inference_batch_size


class ExtractEmbeddings(beam.PTransform):
    """Extracts with an Arrow record batch → extracts with features and embeddings, no images.

    The result holds `features`: per feature an object array [B]; and `predictions`: float32
    [B, D], or with several models a dict of those by model name. B is the embedding batch, but
    for a bundle's last. A missing or repeated feature value raises ValueError.
    """

    def __init__(
        self,
        models: Sequence[tfma.EvalSharedModel],
        eval_config: config_pb2.EvalConfig,
        features: Sequence[str],
    ) -> None:
        """Takes the models by TFMA's names, their ModelSpecs, and the features to keep."""
        super().__init__()
        self._embed = _Embed(models, eval_config.model_specs, features)

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        """Applies the models."""
        return extracts | beam.ParDo(self._embed).with_output_types(tfma.Extracts)


class _Embed(beam.DoFn):
    """Gathers rows into batches of one size, since TFXIO starts with batches of a few rows."""

    def __init__(
        self,
        models: Sequence[tfma.EvalSharedModel],
        specs: Iterable[config_pb2.ModelSpec],
        features: Sequence[str],
    ) -> None:
        specs = list(specs)
        self._loaders = {model.model_name: model.model_loader for model in models}
        # TFMA leaves a single model without a name.
        self._signature_names = {
            spec.name if len(specs) > 1 else "": spec.signature_name or SIGNATURE for spec in specs
        }
        self._batch = min((s.inference_batch_size or _EMBEDDING_BATCH) for s in specs)
        self._features = list(features)

    def setup(self) -> None:
        # A loader keeps one copy of its model per process.
        self._models = {name: loader.load() for name, loader in self._loaders.items()}
        for name, model in self._models.items():
            if self._signature_names[name] not in model.signatures:
                raise ValueError(
                    f"the {name or 'candidate'} model has no signature "
                    f"{self._signature_names[name]!r}, only {sorted(model.signatures)}"
                )

    def start_bundle(self) -> None:
        self._examples: list[bytes] = []
        self._values: dict[str, list[Any]] = {name: [] for name in self._features}

    def process(self, extracts: tfma.Extracts) -> Iterator[tfma.Extracts]:
        batch = extracts[constants.ARROW_RECORD_BATCH_KEY]
        self._examples += _single_values(batch, constants.ARROW_INPUT_COLUMN)
        for name, values in self._values.items():
            values += _single_values(batch, name)
        while len(self._examples) >= self._batch:
            yield self._embed_first_rows()

    def finish_bundle(self) -> Iterator[Any]:
        if self._examples:
            yield GlobalWindows.windowed_value(self._embed_first_rows())

    def _embed_first_rows(self) -> tfma.Extracts:
        examples = tf.constant(self._examples[: self._batch])
        del self._examples[: self._batch]
        features = {}
        for name, values in self._values.items():
            features[name] = np.array(values[: self._batch], dtype=object)
            del values[: self._batch]
        embeddings = {name: self._call(name, examples) for name in self._models}
        work_done.add("images", len(examples))
        return {
            constants.FEATURES_KEY: features,
            constants.PREDICTIONS_KEY: embeddings if len(embeddings) > 1 else embeddings[""],
        }

    def _call(self, model_name: str, examples: tf.Tensor) -> np.ndarray:
        signature = self._models[model_name].signatures[self._signature_names[model_name]]
        outputs = signature(examples)
        if EMBEDDING not in outputs or outputs[EMBEDDING].shape.rank != 2:
            shapes = {name: tuple(value.shape) for name, value in outputs.items()}
            raise ValueError(
                f"the signature {self._signature_names[model_name]!r} of the "
                f"{model_name or 'candidate'} model must return {EMBEDDING!r} of shape [N, D], "
                f"it returns {shapes}"
            )
        return outputs[EMBEDDING].numpy()


def _single_values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """Reads a feature that has exactly one value in every example."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise ValueError(
            f"the evaluated examples have no feature {name!r}, or their schema leaves it out; "
            f"there are {sorted(batch.schema.names)}"
        )
    counts = np.asarray(batch.column(index).value_lengths().fill_null(0))
    if (counts != 1).any():
        raise ValueError(
            f"the feature {name!r} must have exactly one value in every evaluated example, "
            f"one has {counts[counts != 1][0]}"
        )
    return batch.column(index).flatten().to_pylist()


class EmbedGallery(beam.PTransform):
    """Start of a pipeline → extracts as `ExtractEmbeddings` makes them, from files of examples.

    Args:
        files: Patterns of gzipped TFRecord files of tf.Examples with `id`, `label` and whatever
            the models read; each must match at least one file.
        models: By TFMA's names.
        eval_config: With their ModelSpecs.
        features: What to keep besides `id` and `label`.
    """

    def __init__(
        self,
        files: Sequence[str],
        models: Sequence[tfma.EvalSharedModel],
        eval_config: config_pb2.EvalConfig,
        features: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._files = list(files)
        self._embed = ExtractEmbeddings(models, eval_config, [ID, LABEL, *features])

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Reads and embeds.

        Raises:
            ValueError: A pattern matches no file.
        """
        for pattern in self._files:
            if not tf.io.gfile.glob(pattern):
                raise ValueError(f"gallery_files: no file matches {pattern!r}")
        examples = TFExampleRecord(
            self._files, ["RetrievalGallery"], raw_record_column_name=constants.ARROW_INPUT_COLUMN
        )
        return (
            pipeline
            | "Read" >> examples.BeamSource()
            | "Extracts" >> beam.Map(lambda batch: {constants.ARROW_RECORD_BATCH_KEY: batch})
            | "Embed" >> self._embed
        )


class ExtractRetrievalScores(beam.PTransform):
    """Extracts with embeddings → one extract per query with its scores, and one for all queries.

    Input: `features` with `id` and `label`, object arrays [B]; `predictions` float32 [B, D], or
    a dict of those by model name.

    Output, per query: `features` of the same names, arrays [1]; `SCORES_KEY`: float64 [S]
    by model name, with the columns `score_names(ks)` and `COUNTS`; with a false accept rate
    `ACCEPTS_KEY`: int64 [4] by model name, with the columns `PAIR_COUNTS`. And one extract
    with `SET_KEY`: SetMetrics. It has no features, so the only slice it falls into is that of all
    queries.

    Args:
        ks: The values of k.
        verification: Add pair verification to SetMetrics.
        false_accept_rate: Find the operating point at this rate; needs `verification`.
        clustering: Add clustering to SetMetrics.
        gallery: Makes the extracts of the gallery from the pipeline, such as `EmbedGallery`.
            Default: the evaluated examples are the gallery.
        distractors: The same for more of the gallery, with labels that no query has.
        exclude_same: As for `ScoreQueries`; in the `features` of all extracts.
        query_flag: Only examples whose feature `is_query` is not 0 are queries.
        gallery_flag: Only examples whose feature `is_gallery` is not 0 are in the gallery.
        kept: As for `ScoreQueries`.
        folder: As for `ScoreQueries`.
        comparisons: By name, what else is made of {"scored": ScoredQueries, "gallery":
            LabelledRows}; each keeps its result itself.
    """

    def __init__(
        self,
        ks: Sequence[int],
        *,
        verification: bool = False,
        false_accept_rate: float | None = None,
        clustering: bool = False,
        gallery: beam.PTransform | None = None,
        distractors: beam.PTransform | None = None,
        exclude_same: Sequence[str] = (),
        query_flag: bool = False,
        gallery_flag: bool = False,
        kept: Kept | None = None,
        folder: str | None = None,
        comparisons: Mapping[str, beam.PTransform] | None = None,
    ) -> None:
        super().__init__()
        self._comparisons = comparisons or {}
        self._ks, self._gallery, self._distractors = list(ks), gallery, distractors
        self._kept, self._folder = kept, folder
        self._verification, self._clustering = verification, clustering
        self._rate = false_accept_rate
        self._exclude_same = list(exclude_same)
        self._query_flag, self._gallery_flag = query_flag, gallery_flag

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        """Searches each query in the whole gallery."""
        evaluated = queries = extracts | "Rows" >> beam.Map(embedded_rows).with_output_types(
            LabelledRows
        )
        gallery = self._gallery_of(evaluated)
        if self._query_flag:
            queries = queries | "OnlyQueries" >> beam.FlatMap(_flagged, IS_QUERY).with_output_types(
                LabelledRows
            )
        scored = queries | "Score" >> ScoreQueries(
            self._ks,
            gallery,
            verification=self._verification,
            false_accept_rate=self._rate,
            exclude_same=self._exclude_same,
            kept=self._kept,
            folder=self._folder,
        )
        of_set = scored | "MeasureSet" >> MeasureSet(
            verification=self._verification, clustering=self._clustering, gallery=gallery
        )
        searched = evaluated if gallery is None else gallery
        for name, comparison in self._comparisons.items():
            _ = {"scored": scored, "gallery": searched} | name >> comparison
        of_queries = scored | "Scores" >> beam.Map(_without_embeddings)
        return (
            (of_queries, of_set)
            | beam.Flatten()
            | "Extracts" >> beam.FlatMap(_extracts).with_output_types(tfma.Extracts)
        )

    def _gallery_of(self, evaluated: beam.PCollection) -> beam.PCollection | None:
        """LabelledRows of the gallery; None if it is the queries, all of them."""
        if not (self._gallery or self._distractors or self._query_flag or self._gallery_flag):
            return None
        parts = [] if self._gallery else [evaluated]
        for name, source in (("Gallery", self._gallery), ("Distractors", self._distractors)):
            if source:
                extracts = evaluated.pipeline | name >> source
                parts.append(
                    extracts
                    | f"{name}Rows" >> beam.Map(embedded_rows).with_output_types(LabelledRows)
                )
        wanted = [*self._exclude_same, *([IS_GALLERY] if self._gallery_flag else [])]
        gallery = (
            parts
            | "WholeGallery" >> beam.Flatten()
            | "Of" >> beam.Map(_with_only, wanted).with_output_types(LabelledRows)
        )
        if self._gallery_flag:
            gallery = gallery | "OnlyGallery" >> beam.FlatMap(
                _flagged, IS_GALLERY
            ).with_output_types(LabelledRows)
        return gallery


def embedded_rows(extracts: tfma.Extracts) -> LabelledRows:
    """Extracts with embeddings, as `ExtractEmbeddings` makes them, as rows."""
    features, predictions = extracts[constants.FEATURES_KEY], extracts[constants.PREDICTIONS_KEY]
    # TFMA's convention the other way round: a single model's array gets the empty name.
    by_model = predictions if isinstance(predictions, dict) else {"": predictions}
    embeddings = {name: np.asarray(rows, np.float32) for name, rows in by_model.items()}
    return LabelledRows(features[ID], features[LABEL], embeddings, features)


def _with_only(rows: LabelledRows, features: list[str]) -> LabelledRows:
    """The same rows with the same features, wherever in the gallery they come from."""
    return dataclasses.replace(rows, features={name: rows.features[name] for name in features})


def _flagged(rows: LabelledRows, flag: str) -> Iterator[LabelledRows]:
    """The rows whose flag is not 0."""
    some = np.flatnonzero(rows.features[flag].astype(bool))
    if some.size:
        yield rows.take(some)


def _without_embeddings(scored: ScoredQueries) -> _Scores:
    by_model = scored.by_model.items()
    scores = {model: of_model.scores for model, of_model in by_model}
    accepts = {
        model: of_model.accepts for model, of_model in by_model if of_model.accepts is not None
    }
    return scored.queries.features, scores, accepts


def _extracts(part: SetMetrics | _Scores) -> Iterator[tfma.Extracts]:
    if isinstance(part, SetMetrics):
        yield {constants.FEATURES_KEY: {}, SET_KEY: part}
        return
    features, scores, accepts = part
    for row in range(len(features[ID])):
        extracts: tfma.Extracts = {
            constants.FEATURES_KEY: {
                name: values[row : row + 1] for name, values in features.items()
            },
            SCORES_KEY: {model: of_model[row] for model, of_model in scores.items()},
        }
        if accepts:
            extracts[ACCEPTS_KEY] = {model: of_model[row] for model, of_model in accepts.items()}
        yield extracts
