"""What mining costs: forward and backward of each loss, beside the small network's training step.

    python -m tests.benchmarks.bench_losses [--idx DIR]

A batch as in training: 3 × 128 digits in triplets, embedded by the small network after 100 steps of
semi-hard mining. `ms` is the loss alone, from embeddings to their gradient; `step_ms` one whole
training step without input, with explicit triplets, the cheapest loss there is. All settings take
turns in every round; of 30 rounds the fastest counts, since other work can only slow one down.
Prints one JSON line per setting: `baseline` is explicit triplets, `share_of_step` is ms / step_ms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.images import decode_images
from modules.losses.loss_sums import mean_over_active
from modules.losses.triplet_loss import TripletLoss
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.triplet_model import TripletModel
from tests.benchmarks.bench_triplet_gen import load_rows

TRIPLETS = 128
WARMUP_STEPS, ROUNDS = 100, 30
IMAGE = ImageSettings()
BASELINE: dict[str, Any] = {"mining": "none"}
SETTINGS: list[dict[str, Any]] = [
    BASELINE,
    {"mining": "semi_hard"},
    {"mining": "semi_hard", "distance": "l2"},
    {"mining": "semi_hard", "loss": "soft_margin"},
    {"mining": "hard"},
    {"mining": "hard", "swap": True},
    {"mining": "easy_positive"},
    {"mining": "distance_weighted"},
    {"mining": "all"},
    {"mining": "all", "loss": "soft_margin"},
    {"mining": "all", "swap": True},
]


def batches(rows: list, count: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Random triplets as TripletGen would give: pixels [3·B, …] and labels [3·B]."""
    rng = np.random.default_rng(0)
    labels = np.array([int(label) for _, label, _ in rows])
    members = [np.flatnonzero(labels == label) for label in range(10)]
    found = []
    for _ in range(count):
        classes = rng.integers(0, 10, TRIPLETS)
        others = (classes + rng.integers(1, 10, TRIPLETS)) % 10
        chosen = [rng.choice(members[c]) for c in (*classes, *classes, *others)]
        images = decode_images(tf.constant([rows[i][0] for i in chosen]), IMAGE)
        found.append((images, tf.constant(labels[chosen], tf.int32)))
    return found


def loss_step(options: dict[str, Any], x: tf.Tensor, labels: tf.Tensor) -> Callable[[], None]:
    """Forward and backward of one loss, compiled."""
    loss = TripletLoss(**options)

    @tf.function
    def step(x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = mean_over_active(loss.sums(labels, x, tf.constant([0, 0])))
        return tape.gradient(value, x)

    return lambda: step(x, labels).numpy()


def training_step(options: dict[str, Any], batch: tuple[tf.Tensor, tf.Tensor]) -> Callable:
    """One step of the pipeline's trainer, compiled, without its input."""
    trainer = make_trainer(options)
    step = tf.function(trainer.train_step)
    return lambda: step(batch)["loss"].numpy()


def make_trainer(options: dict[str, Any]) -> TripletModel:
    keras.utils.set_random_seed(0)
    embedder = build_embedding_model(ModelSettings(), IMAGE)
    trainer = TripletModel(embedder, TrainingSettings(**options))
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    return trainer


def milliseconds(functions: Sequence[Callable[[], Any]]) -> list[float]:
    """The fastest of several rounds, in which the functions take turns."""
    for function in functions:
        function()  # traces
    times = np.empty((ROUNDS, len(functions)))
    for row in times:
        for column, function in enumerate(functions):
            started = time.perf_counter()
            function()
            row[column] = time.perf_counter() - started
    return (1000 * times.min(axis=0)).tolist()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    rows = load_rows(parser.parse_args(argv).idx)
    data = batches(rows, 20)
    trainer = make_trainer({"mining": "semi_hard"})
    train_step = tf.function(trainer.train_step)
    for step in range(WARMUP_STEPS):
        train_step(data[step % len(data)])
    embeddings, labels = trainer.embedder(data[0][0]), data[0][1]

    functions = [loss_step(options, embeddings, labels) for options in SETTINGS]
    # Hard mining inside and outside its warm-up: what the choice between the two costs.
    steps: list[dict[str, Any]] = [
        BASELINE,
        {"mining": "semi_hard"},
        {"mining": "hard", "warmup_steps": 0},
        {"mining": "hard", "warmup_steps": 1},
        {"mining": "hard", "warmup_steps": 500},
    ]
    functions += [training_step(options, data[0]) for options in steps]
    times = milliseconds(functions)
    baseline, step_ms = times[0], times[len(SETTINGS)]
    for options, ms in zip(SETTINGS, times[: len(SETTINGS)], strict=True):
        line = {
            "benchmark": "losses",
            **options,
            "ms": round(ms, 2),
            "baseline": "explicit triplets",
            "baseline_ms": round(baseline, 2),
            "ratio": round(ms / baseline, 1),
            "step_ms": round(step_ms, 1),
            "share_of_step": round(ms / step_ms, 3),
        }
        print(json.dumps(line), flush=True)
    for options, ms in zip(steps, times[len(SETTINGS) :], strict=True):
        line = {
            "benchmark": "training step without input",
            **options,
            "ms": round(ms, 1),
            "baseline": "explicit triplets",
            "baseline_ms": round(step_ms, 1),
            "ratio": round(ms / step_ms, 2),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
