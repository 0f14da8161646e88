"""How good an embedding of digits becomes in a given time of training.

    python -m tests.benchmarks.bench_quality --idx DIR [--only NAME]

MNIST from the IDX files in DIR. `digits-18s` and `digits-120s` train on the 60,000 training images
and score the 10,000 test images, leave-one-out. `unseen` trains on the training images of 0 to 4
and scores the test images of 5 to 9, with three seeds. The number of steps is fixed; the seconds
are those of the machine, from the end of the first step (tracing is not counted) to the last,
reading and decoding included. No test image decides about anything in a run. Prints one JSON line
per training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from modules.callbacks import compile_embedding
from modules.models import build_embedding_model
from modules.preprocessing import decode_images
from modules.retrieval import make_gallery, score_queries
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.trainer import compile_trainer, training_batches
from pipeline.idx import read_split
from tests.benchmarks.bench_training import write_triplets
from tests.real_data import Row, png

IMAGE = ImageSettings()
COMMON = {"precision": "mixed_bfloat16", "mining": "semi_hard", "learning_rate": 2e-3}
LITTLE = {"max_shift": 0.07, "max_rotation": 0.03, "ema": 0.98}
MORE = {"max_shift": 0.1, "max_rotation": 0.04, "max_zoom": 0.1, "ema": 0.99}


class Case(NamedTuple):
    """A training and what it is scored on."""

    name: str
    model: ModelSettings
    training: TrainingSettings
    train_classes: range = range(10)
    test_classes: range = range(10)


CASES = [
    Case("digits-18s", ModelSettings(), TrainingSettings(steps=420, **COMMON, **LITTLE)),
    Case(
        "digits-120s",
        ModelSettings(),
        TrainingSettings(steps=2700, **COMMON, **LITTLE | {"ema": 0.99}),
    ),
    Case(
        "digits-120s",
        ModelSettings(name="residual_cnn"),
        TrainingSettings(steps=2000, **COMMON, **MORE),
    ),
    *(
        Case(
            "unseen",
            ModelSettings(),
            TrainingSettings(steps=420, seed=seed, **COMMON, **LITTLE),
            range(5),
            range(5, 10),
        )
        for seed in range(3)
    ),
]


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Standardised by the mean and deviation of MNIST."""
    return (decode_images(encoded, IMAGE) - 0.1307) / 0.3081


def load(idx: Path, split: str, classes: range) -> list[Row]:
    images, labels = read_split(idx, split)
    return [
        (png(image), str(label).encode(), f"{split}/{i:05d}".encode())
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
        if label in classes
    ]


def run(case: Case, shards: str, test: list[Row]) -> dict[str, object]:
    """Trains and scores."""
    settings = case.training
    keras.utils.set_random_seed(settings.seed)
    embedder = build_embedding_model(case.model, IMAGE, settings.precision)
    trainer = compile_trainer(embedder, settings, settings.steps, case.model)
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    started = time.perf_counter()
    batches = training_batches([shards], pixels, settings)
    reading = time.perf_counter() - started
    trainer.fit(
        batches, steps_per_epoch=settings.steps, shuffle=False, verbose=0, callbacks=[clock]
    )
    served = build_embedding_model(case.model, IMAGE)
    served.set_weights(embedder.get_weights())  # the averaged ones: Keras keeps them at the end
    images, labels, ids = (np.array(column, object) for column in zip(*test, strict=True))
    embeddings = compile_embedding(served, pixels)(images)
    scores = score_queries(make_gallery(ids, labels, embeddings), [1, 10])
    return {
        "benchmark": "quality",
        "case": case.name,
        "seed": settings.seed,
        "network": case.model.name,
        "steps": settings.steps,
        "seconds": round(reading + ends[-1] - ends[0], 1),
        "images_per_step": settings.classes_per_batch * settings.images_per_class,
        **{
            name: round(float(np.nanmean(scores[name])), 4)
            for name in ("precision@1", "precision@10", "map@r")
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--only", help="name of the cases to run")
    options = parser.parse_args(argv)
    shards: dict[range, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            if options.only not in (None, case.name):
                continue
            classes = case.train_classes
            if classes not in shards:
                folder = Path(scratch) / f"classes-{len(shards)}"
                shards[classes] = write_triplets(load(options.idx, "train", classes), folder)
            test = load(options.idx, "eval", case.test_classes)
            print(json.dumps(run(case, shards[classes], test)), flush=True)


if __name__ == "__main__":
    main()
