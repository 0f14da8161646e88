"""What staying compatible with an earlier model costs, and what it brings.

    python -m tests.benchmarks.bench_compatibility [--set NAME] [--steps N] [--weight W]
        [--seeds N] [--choosing] [--idx DIR]

The old model is trained on half of the classes, the new one on all of them, from other weights,
once without and once with `compatibility_weight` for each W: equally many steps, the same batches.
`digits` are the 5,000 of the sample, 400 of a class to train on; the other set is drawn, see
`quality_sets`. `--choosing` draws sets that no reported figure is of.

Prints a JSON line for each case and seed: `own`, queries by the new model in its own gallery;
`cross`, in the gallery of the old model; `mapped`, there after an orthogonal map that was learnt
from 2,000 training images; `old`, the old model in its own gallery; P@1 and MAP@R each, of the
test images, leave-one-out. `seconds` are those of the processor for the steps, `ratio` their
relation to the case without; the embedding of the training images by the old model is in
`embedding_seconds` alone. `--idx` is there because `make bench` gives it to all benchmarks; it has
no effect.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.batches import FeatureCache
from modules.compatibility import learn_map
from modules.models import compile_embedding
from modules.retrieval import make_gallery, score_against
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from tests.benchmarks.quality_runs import Pixels, embed, show, train, write_triplets
from tests.benchmarks.quality_sets import CHOOSING, QualitySet, many_classes
from tests.real_data import Row, digits

COMMON = {
    "precision": "mixed_bfloat16",
    "batches": "classes",
    "mining": "semi_hard",
    "max_shift": 0.07,
    "max_rotation": 0.03,
}
STEPS = {"digits": 300, "many-classes": 600}
MAP_IMAGES = 2000
WEIGHTS = (0.3, 1.0, 3.0)


def data_of(name: str, seed: int) -> QualitySet:
    if name == "digits":
        tests = {"unseen": digits(100, start=400)}
        return QualitySet(digits(400), tests, ImageSettings())
    return many_classes(seed)


def scores(test: list[Row], queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    """Leave-one-out: a row with the id of the query is no neighbour."""
    _, labels, ids = (np.array(column, object) for column in zip(*test, strict=True))
    found = score_against(
        make_gallery(ids, labels, queries), make_gallery(ids, labels, gallery), [1]
    )
    return {name: round(float(np.nanmean(found[name])), 4) for name in ("precision@1", "map@r")}


def compare(name: str, steps: int, weights: Sequence[float], seed: int) -> None:
    data = data_of(name, seed)
    pixels = Pixels.of(data.train, data.image)
    labels = sorted({label for _, label, _ in data.train})
    half = [row for row in data.train if row[1] in set(labels[::2])]
    with tempfile.TemporaryDirectory() as scratch:

        def trained(rows: list[Row], folder: str, **training: Any) -> Any:
            settings = TrainingSettings(**COMMON, steps=steps, **training)
            shards = write_triplets(rows, Path(scratch, folder))
            return shards, lambda earlier: train(
                ModelSettings(), settings, shards, pixels, clock="process_time", earlier=earlier
            )

        _, train_old = trained(half, "old", seed=seed + 1000)
        old = train_old(None).network
        by_old = {test: embed(old, pixels, rows) for test, rows in data.tests.items()}
        sample = data.train[:: max(1, len(data.train) // MAP_IMAGES)]
        of_sample = embed(old, pixels, sample)
        seconds = None
        for weight in (0.0, *weights):
            shards, train_new = trained(
                data.train, f"new {weight}", seed=seed, compatibility_weight=weight
            )
            began, earlier = time.process_time(), None
            if weight:
                folder = Path(scratch, f"cache {weight}")
                folder.mkdir()
                extract = compile_embedding(old, pixels.images)
                earlier = FeatureCache([shards], np.empty(0, object), extract, str(folder), 2**30)
            embedding_seconds = time.process_time() - began
            done = train_new(earlier and earlier.of_keys)
            seconds = seconds or done.seconds
            found = learn_map(embed(done.network, pixels, sample), of_sample)
            result = {}
            for test, rows in data.tests.items():
                new, vectors = embed(done.network, pixels, rows), by_old[test]
                result[test] = {
                    "own": scores(rows, new, new),
                    "cross": scores(rows, new, vectors),
                    "mapped": scores(rows, new @ found, vectors),
                    "old": scores(rows, vectors, vectors),
                }
            show(
                {"benchmark": "compatibility", "set": name, "steps": steps, "seed": seed}
                | {"weight": weight, "seconds": done.seconds}
                | {"ratio": round(done.seconds / seconds, 3)}
                | {"embedding_seconds": round(embedding_seconds, 1)}
                | result
            )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=STEPS, action="append", help="what to train on; all")
    parser.add_argument("--steps", type=int, help="of every training")
    parser.add_argument("--weight", type=float, action="append", help="several times")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--choosing", action="store_true", help="sets for choosing settings")
    parser.add_argument("--idx", type=Path, help="not used: the images are drawn, or in a wheel")
    options = parser.parse_args(argv)
    first = CHOOSING if options.choosing else 0
    for name in options.set or STEPS:
        for seed in range(first, first + options.seeds):
            steps = options.steps or STEPS[name]
            compare(name, steps, options.weight or WEIGHTS, seed)


if __name__ == "__main__":
    main()
