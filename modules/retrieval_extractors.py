"""Beam transforms that turn examples into embeddings and embeddings into retrieval scores.

Both speak TFMA's extracts (dicts), so either can stand in a list of TFMA extractors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.shared import Shared
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2

from modules.contract import ID, LABEL
from modules.retrieval import COUNTS, Gallery, make_gallery, score_names, score_queries

SIGNATURE = "serving_default"
EMBEDDING = "embedding"

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
        self._values: dict[str, list] = {name: [] for name in self._features}

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


def _single_values(batch: pa.RecordBatch, name: str) -> list:
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


class ExtractRetrievalScores(beam.PTransform):
    """Extracts with embeddings → one extract per block of queries, with scores instead.

    Input: `features` with `id` and `label`, object arrays [B]; `predictions` float32 [B, D], or
    a dict of those by model name. Output: `features` of the same names; `predictions` float64
    [Q, S], or a dict, with the columns `score_names(ks)` and `COUNTS`, NaN where R = 0.

    Blocks are ranges of the gallery, which is ordered by id, so results do not depend on how the
    runner batches. Each worker process builds the gallery once: N × D float32 per model.
    """

    def __init__(self, ks: Sequence[int], query_block: int = 1024) -> None:
        """Keeps the values of k, and Q: how many queries are one unit of work for a runner."""
        super().__init__()
        self._ks = list(ks)
        self._query_block = query_block

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Searches each block of queries in the whole split."""
        return (
            batches
            | "CountRows" >> beam.Map(lambda batch: len(batch[constants.FEATURES_KEY][ID]))
            | "Total" >> beam.CombineGlobally(sum)
            | "QueryBlocks" >> beam.FlatMap(_block_starts, self._query_block)
            | "SpreadBlocks" >> beam.Reshuffle()
            | "Score"
            >> beam.ParDo(
                _ScoreBlock(self._ks, self._query_block), beam.pvalue.AsIter(batches)
            ).with_output_types(tfma.Extracts)
        )


def _block_starts(total: int, query_block: int) -> range:
    """First gallery position of every block of queries."""
    if not total:
        raise ValueError("the evaluated split has no examples: there is nothing to retrieve")
    return range(0, total, query_block)


class _Split:
    """The evaluated split, ordered by id: its features and one gallery per model."""

    def __init__(self, batches: Iterable[tfma.Extracts]) -> None:
        batches = list(batches)
        features = {
            name: np.concatenate([batch[constants.FEATURES_KEY][name] for batch in batches])
            for name in batches[0][constants.FEATURES_KEY]
        }
        order = np.argsort(features[ID], kind="stable")
        self.features = {name: values[order] for name, values in features.items()}
        self.galleries: dict[str, Gallery] = {}
        predictions = [_by_model(batch[constants.PREDICTIONS_KEY]) for batch in batches]
        for model in predictions[0]:
            embeddings = np.concatenate([prediction[model] for prediction in predictions])
            self.galleries[model] = make_gallery(features[ID], features[LABEL], embeddings)


def _by_model(predictions: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """TFMA's convention the other way round: a single model's array gets the empty name."""
    return predictions if isinstance(predictions, dict) else {"": predictions}


class _ScoreBlock(beam.DoFn):
    """Scores the block of queries that begins at a gallery position, for every model."""

    def __init__(self, ks: Sequence[int], query_block: int) -> None:
        self._ks = ks
        self._query_block = query_block
        self._shared = Shared()

    def process(self, start: int, batches: Iterable[tfma.Extracts]) -> Iterator[tfma.Extracts]:
        # Held as an attribute: `Shared` itself keeps only a weak reference for long.
        self._split = self._shared.acquire(lambda: _Split(batches))
        stop = min(start + self._query_block, len(self._split.features[ID]))
        columns = [*score_names(self._ks), *COUNTS]
        scores = {}
        for model, gallery in self._split.galleries.items():
            by_name = score_queries(gallery, self._ks, start, stop)
            scores[model] = np.stack([by_name[name] for name in columns], axis=1)
        yield {
            constants.FEATURES_KEY: {
                name: values[start:stop] for name, values in self._split.features.items()
            },
            constants.PREDICTIONS_KEY: scores if len(scores) > 1 else scores[""],
        }
