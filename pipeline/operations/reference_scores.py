"""`python -m pipeline reference_scores`: how much of the retrieval needs no training at all.

Pixels alone find many neighbours of the right class, and so does a network with random weights.
What training has brought is the difference to these reference_scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.config import Config, load_config
from pipeline.metadata import Run, latest_run
from pipeline.runtime import ConfigError, quiet_imports

if TYPE_CHECKING:
    import tensorflow as tf

    from modules.retrieval import Gallery

_BATCH = 256
# The floor of pixels keeps them all in memory: larger images are averaged down to this side.
_LARGEST_SIDE = 32
# What they resolved was evaluated, the first that is there; see `pipeline.definition`.
_RESOLVERS = ("EvaluationResolver", "WindowResolver")
CANDIDATE, UNTRAINED, RAW_PIXELS = "candidate", "untrained", "raw_pixels"


@click.command("reference-scores")
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def reference_scores_command(config_name: str | None, as_json: bool) -> None:
    """Compare the latest model with an untrained network and with raw pixels."""
    with quiet_imports():
        figures = reference_scores(load_config(config_name))
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    Console(highlight=False, soft_wrap=True).print(_table(figures))


def _table(figures: dict[str, dict[str, float]]) -> Table:
    """Empty where the run was evaluated with other ks than are configured now."""
    table = Table(title="Retrieval on the eval split", title_justify="left")
    table.add_column("metric")
    for name in figures:
        table.add_column(name.replace("_", " "), justify="right")
    for metric in figures[UNTRAINED]:
        values = [of_one.get(metric) for of_one in figures.values()]
        table.add_row(metric, *("" if value is None else f"{value:.4f}" for value in values))
    return table


def reference_scores(config: Config) -> dict[str, dict[str, float]]:
    """Compares the model of the latest run with embeddings that have learned nothing; `compare`.

    Args:
        config: See `pipeline.config.load_config`.

    Raises:
        ConfigError: The pipeline has not run, or the latest run has no examples or no transform
            graph.
    """
    return compare(config, latest_run(config))


def compare(config: Config, run: Run) -> dict[str, dict[str, float]]:
    """Scores two embeddings that have learned nothing on what a run was evaluated on.

    - `untrained`: the configured network with the random weights that the seed gives, also where
      training starts from published weights or a file;
    - `raw_pixels`: the transformed pixels as one vector of norm 1; images with a side above 32
      are averaged down to it.

    As in the Evaluator: the queries are the eval split of the span or spans that were evaluated,
    and each is left out of its own gallery, the split itself or `[evaluation] gallery_split`. In
    memory are the embeddings of both, and the distances of one block of queries.

    Args:
        config: What the run was configured by.
        run: See `pipeline.metadata.runs.latest_run`.

    Returns:
        `candidate` (the model of the run, as its Evaluator measured it; missing when it was not
        evaluated), `untrained`, `raw_pixels` → retrieval score → mean over the queries.

    Raises:
        ConfigError: The run has no examples of a split or no transform graph.
    """
    import keras

    from modules.models import build_embedding_model
    from modules.retrieval import score_names

    transform = _transform(config, run)
    queries = _batches(config, run, "eval")
    gallery_split = config.evaluation.gallery_split
    gallery = _batches(config, run, gallery_split) if gallery_split else None
    keras.utils.set_random_seed(config.training.seed)
    # `trainable` goes along: only a network without weights to start from is trained as a whole.
    untrained = config.model.model_copy(update={"weights": "none", "trainable": "all"})
    network = build_embedding_model(untrained, config.image)
    names = score_names(config.evaluation.ks)
    figures = {}
    if run.evaluation is not None:
        measured = run.evaluation.metrics[CANDIDATE]["overall"]
        figures[CANDIDATE] = {name: measured[name] for name in names if name in measured}
    embedders = {UNTRAINED: lambda x: network(x, training=False), RAW_PIXELS: _raw_pixels}
    return figures | _scores(queries, gallery, transform, embedders, config.evaluation.ks)


def _transform(config: Config, run: Run) -> Callable[[tf.Tensor], tf.Tensor]:
    """Encoded images to pixels as in the run."""
    import tensorflow_transform as tft

    from modules.contract import IMAGE

    uri = next((n.uris["transform_graph"][0] for n in run.nodes if "transform_graph" in n.uris), "")
    if not uri:
        raise _too_early(config, "transform graph")
    layer = tft.TFTransformOutput(uri).transform_features_layer()
    return lambda images: layer({IMAGE: images[:, None]})[IMAGE]


def _batches(config: Config, run: Run, split: str) -> Iterable[dict[str, tf.Tensor]]:
    """A split of the examples that the run was evaluated on, of each span once."""
    import tensorflow as tf

    from modules.contract import FEATURES

    uris = {node.node: node.uris["examples"] for node in run.nodes if "examples" in node.uris}
    # The first node with examples is the ExampleGen; with spans, resolvers choose among them.
    chosen = next(
        (uris[name] for name in _RESOLVERS if name in uris), next(iter(uris.values()), [])
    )
    files = [file for uri in chosen for file in tf.io.gfile.glob(f"{uri}/Split-{split}/*")]
    if not files:
        raise _too_early(config, f"examples of the split {split!r}")
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in FEATURES}
    return (
        tf.data.TFRecordDataset(sorted(files), "GZIP")
        .batch(_BATCH)
        .map(lambda serialized: tf.io.parse_example(serialized, features))
        .prefetch(1)
    )


def _too_early(config: Config, missing: str) -> ConfigError:
    return ConfigError(
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
    queries: Iterable[dict[str, tf.Tensor]],
    gallery: Iterable[dict[str, tf.Tensor]] | None,
    transform: Callable[[tf.Tensor], tf.Tensor],
    embedders: dict[str, Callable[[tf.Tensor], tf.Tensor]],
    ks: list[int],
) -> dict[str, dict[str, float]]:
    """Embeds each image once with each embedder; the mean scores by embedder."""
    from modules.retrieval import score_against, score_names, score_queries

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
    batches: Iterable[dict[str, tf.Tensor]],
    transform: Callable[[tf.Tensor], tf.Tensor],
    embedders: dict[str, Callable[[tf.Tensor], tf.Tensor]],
) -> dict[str, Gallery]:
    """Labelled embeddings by embedder."""
    from modules.contract import ID, IMAGE, LABEL
    from modules.retrieval import make_gallery

    ids: list[bytes] = []
    labels: list[bytes] = []
    embeddings: dict[str, list[np.ndarray]] = {name: [] for name in embedders}
    for batch in batches:
        ids += batch[ID].numpy().tolist()
        labels += batch[LABEL].numpy().tolist()
        pixels = transform(batch[IMAGE])
        for name, embed in embedders.items():
            embeddings[name].append(embed(pixels).numpy())
    return {
        name: make_gallery(ids, labels, np.concatenate(parts)) for name, parts in embeddings.items()
    }
