"""Reference scores: how well retrieval works without any training.

Neighbours by pixels alone often have the right class, and so have those of a network with random
weights. What training has brought is the difference to these scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from modules.contract import DISTRACTORS, FEATURES, ID, IMAGE, IS_GALLERY, IS_QUERY, LABEL
from pipeline.config import Config
from pipeline.metadata import CANDIDATE, Run, latest_run
from pipeline.runtime import NotRunError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_transform as tft

    from modules.retrieval import Gallery
    from modules.settings import EvaluationSettings

    Embedders = dict[str, Callable[[tf.Tensor], tf.Tensor]]

UNTRAINED, RAW_PIXELS = "untrained", "raw_pixels"
_BATCH = 256
# All pixels are kept in memory as embeddings; larger images are averaged down to this side.
_LARGEST_SIDE = 32
# Nodes that choose what is evaluated; the output of the first that is there
# counts; see `pipeline.definition`.
_RESOLVERS = ("EvaluationResolver", "WindowResolver")


def latest_reference_scores(config: Config) -> dict[str, dict[str, float]]:
    """Compares the model of the latest run with the reference scores; see `reference_scores_of`.

    Args:
        config: See `pipeline.config.load_config`.

    Raises:
        PipelineError: The pipeline has not run, or its latest run has no examples or no transform
            graph.
    """
    return reference_scores_of(config, latest_run(config))


def reference_scores_of(config: Config, run: Run) -> dict[str, dict[str, float]]:
    """Scores two embeddings that have learned nothing, on the examples that a run evaluated.

    - `untrained`: the configured network with random weights from the configured seed, even if
      training starts from published weights or from a file;
    - `raw_pixels`: the transformed pixels as one vector of norm 1. Images with a side above 32
      pixels are averaged down to 32.

    The queries are the eval split of the evaluated span or spans. The gallery is the same split
    without the query itself, or `[evaluation] gallery_split`, and the distractors. Flags and
    `exclude_same` count, all as in the Evaluator. All embeddings are kept in memory.

    Args:
        config: The configuration of the run.
        run: See `pipeline.metadata.latest_run`.

    Returns:
        By embedding and by name of the score the mean over the queries. The embeddings are
        `candidate` (the model of the run, as its Evaluator measured it; missing if it was not
        evaluated), `untrained` and `raw_pixels`.

    Raises:
        NotRunError: The run has no examples of a split or no transform graph.
    """
    import keras

    from modules.images import transformed_image
    from modules.models import build_embedding_model
    from modules.retrieval import score_names

    output = _transform_output(config, run)
    layer = output.transform_features_layer()

    def transform(images: tf.Tensor) -> tf.Tensor:
        return layer({IMAGE: images[:, None]})[IMAGE]

    queries = _batches(config, run, "eval", IS_QUERY)
    gallery_split = config.evaluation.gallery_split or "eval"
    searched = [_batches(config, run, gallery_split, IS_GALLERY)]
    if config.data.distractors:
        searched.append(_batches(config, run, DISTRACTORS, IS_GALLERY))
    one_set = gallery_split == "eval" and queries.flag is searched[0].flag is None
    gallery = None if one_set and len(searched) == 1 else searched
    keras.utils.set_random_seed(config.training.seed)
    # A network without weights to start from must be trainable as a whole.
    untrained = config.model.model_copy(update={"weights": "none", "trainable": "all"})
    network = build_embedding_model(untrained, transformed_image(output))
    names = score_names(config.evaluation.ks)
    scores = {}
    if run.evaluation is not None:
        measured = run.evaluation.metrics[CANDIDATE]["overall"]
        scores[CANDIDATE] = {name: measured[name] for name in names if name in measured}
    embedders = {UNTRAINED: lambda x: network(x, training=False), RAW_PIXELS: _raw_pixels}
    return scores | _scores([queries], gallery, transform, embedders, config.evaluation)


def _transform_output(config: Config, run: Run) -> tft.TFTransformOutput:
    """What the run transformed encoded images to pixels with."""
    import tensorflow_transform as tft

    uri = next((n.uris["transform_graph"][0] for n in run.nodes if "transform_graph" in n.uris), "")
    if not uri:
        raise _too_early(config, "transform graph")
    return tft.TFTransformOutput(uri)


@dataclasses.dataclass
class _Examples:
    """Examples to score or to search.

    Attributes:
        batches: Tensors [B] by feature.
        flag: The feature that is 0 in those that do not count; None if all do.
        columns: Features that make groups, see `modules.retrieval.groups`.
    """

    batches: Iterable[dict[str, tf.Tensor]]
    flag: str | None
    columns: list[str]

    def counted(self) -> Iterator[dict[str, tf.Tensor]]:
        """The batches, with those examples only that count."""
        for batch in self.batches:
            if self.flag:
                counts = batch[self.flag] != 0
                batch = {name: values[counts] for name, values in batch.items()}
            if len(batch[ID]):
                yield batch


def _batches(config: Config, run: Run, split: str, flag: str) -> _Examples:
    """A split of the evaluated examples; all spans of a window, each once."""
    import tensorflow as tf

    from modules.storage import feature_types, read_examples

    uris = {node.node: node.uris["examples"] for node in run.nodes if "examples" in node.uris}
    # The first node with examples is the ExampleGen; with spans, resolvers choose among them.
    chosen = next(
        (uris[name] for name in _RESOLVERS if name in uris), next(iter(uris.values()), [])
    )
    files = [file for uri in chosen for file in tf.io.gfile.glob(f"{uri}/Split-{split}/*")]
    if not files:
        raise _too_early(config, f"examples of the split {split!r}")
    files.sort()
    types = feature_types(files)
    columns = config.evaluation.exclude_same
    wanted = {*FEATURES, *columns, *({flag} & types.keys())}
    batches = read_examples(files, sorted(wanted), batch_size=_BATCH, types=types)
    return _Examples(batches, flag if flag in types else None, columns)


def _too_early(config: Config, missing: str) -> NotRunError:
    return NotRunError(
        f"The latest run of {config.pipeline.name!r} has no {missing}: it did not get that far. "
        "Run the pipeline first."
    )


def _raw_pixels(pixels: tf.Tensor) -> tf.Tensor:
    """Pixels float32 [N, H, W, C] as vectors of norm 1."""
    import tensorflow as tf

    height, width = pixels.shape[1:3]
    if max(height, width) > _LARGEST_SIDE:
        size = [min(height, _LARGEST_SIDE), min(width, _LARGEST_SIDE)]
        pixels = tf.image.resize(pixels, size, method="area")
    return tf.math.l2_normalize(tf.reshape(pixels, [len(pixels), -1]), axis=1)


def _scores(
    queries: list[_Examples],
    gallery: list[_Examples] | None,
    transform: Callable[[tf.Tensor], tf.Tensor],
    embedders: Embedders,
    settings: EvaluationSettings,
) -> dict[str, dict[str, float]]:
    """Embeds each image once with each embedder; returns the mean scores by embedder."""
    from modules.retrieval import score_against, score_names, score_queries

    ks = settings.ks
    found = _embed(queries, transform, embedders)
    searched = None if gallery is None else _embed(gallery, transform, embedders)
    means = {}
    for name in embedders:
        if searched is None:
            scores = score_queries(found.pop(name), ks)
        else:
            scores = score_against(found.pop(name), searched.pop(name), ks)
        means[name] = {score: float(np.nanmean(scores[score])) for score in score_names(ks)}
    return means


def _embed(
    parts: list[_Examples],
    transform: Callable[[tf.Tensor], tf.Tensor],
    embedders: Embedders,
) -> dict[str, Gallery]:
    """Labelled embeddings by embedder, of all parts together."""
    from modules.retrieval import make_gallery

    ids: list[bytes] = []
    labels: list[bytes] = []
    names = parts[0].columns
    columns: list[list[object]] = [[] for _ in names]
    embeddings: dict[str, list[np.ndarray]] = {name: [] for name in embedders}
    for batch in (batch for examples in parts for batch in examples.counted()):
        ids += batch[ID].numpy().tolist()
        labels += batch[LABEL].numpy().tolist()
        for column, name in zip(columns, names, strict=True):
            column += batch[name].numpy().tolist()
        pixels = transform(batch[IMAGE])
        for name, embed in embedders.items():
            embeddings[name].append(embed(pixels).numpy())
    return {
        name: make_gallery(ids, labels, np.concatenate(rows), columns)
        for name, rows in embeddings.items()
    }
