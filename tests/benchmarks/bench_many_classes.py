"""What TripletGen adds to mining inside the batch, where many classes look alike.

    python -m tests.benchmarks.bench_many_classes [--set NAME] [--only CASE] [--seconds S]
        [--seeds N] [--choosing] [--peer-python PYTHON] [--idx DIR]

The sets are drawn, see `quality_sets`; each seed draws other images, weights and batches. Every
case has the same S seconds, of the processor, since other work on the machine disturbs them less
than those of the clock: reading, decoding, training, and from the second round on TripletGen
(`triplet_gen_seconds`), which mines in the case named so, with the model of the round before. The
first step of a training, which traces, is not counted. The rate falls over the seconds of a round.
Ours are trained on eight images less than the peers, the least that TripletGen can hold out.

Prints one JSON line for each case and seed, then one for each case, with mean, least and largest
of each score. Scores are leave-one-out within `seen` (new images of training classes) and `unseen`
(images of other classes). `--choosing` draws sets that no reported figure is of.

The peer is pytorch-metric-learning, see `bench_quality`: same network, augmentation and rate, 4
images of a class in a batch. `--idx` is there because `make bench` gives it to all
benchmarks; it has no effect.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.settings import ModelSettings, TrainingSettings, TripletSettings
from tests.benchmarks.quality_runs import (
    ALL_IMAGES,
    Pixels,
    embed,
    export,
    peer,
    run_triplet_gen,
    score,
    show,
    train,
)
from tests.benchmarks.quality_sets import CHOOSING, SETS, QualitySet
from tests.real_data import examples_artifact

CLOCK = "process_time"
COMMON = {
    "precision": "mixed_bfloat16",
    "learning_rate": 2e-3,
    "ema": 0.98,
    "max_shift": 0.07,
    "max_rotation": 0.03,
}
RANDOM = TripletSettings(**ALL_IMAGES)
MINED = TripletSettings(
    **ALL_IMAGES, strategy="semi_hard", nearest=3, buckets="neighbourhood", triplets_per_anchor=3
)
CLASSES = {"batches": "classes", "mining": "semi_hard"}
TRIPLETS = {"batches": "triplets", "mining": "semi_hard"}
PEERS = ("semi_hard", "multi_similarity")
PEER_BATCH = 192  # images, chosen with seed 101: the peer's miners slow large ones down


class Round(NamedTuple):
    """A share of the seconds; `warm` starts from the network of the round before."""

    training: dict[str, Any]
    triplets: TripletSettings = RANDOM
    share: float = 1.0
    warm: bool = False


CASES = {
    "classes": [Round(CLASSES)],
    "classes, two rounds": [Round(CLASSES, share=0.5), Round(CLASSES, warm=True)],
    "triplets": [Round(TRIPLETS)],
    "triplets, two rounds": [Round(TRIPLETS, share=0.5), Round(TRIPLETS, warm=True)],
    "triplets, mined": [Round(TRIPLETS, share=0.5), Round(TRIPLETS, MINED, warm=True)],
}


def ours(rounds: list[Round], data: QualitySet, seconds: float, seed: int) -> dict[str, Any]:
    """Trains all rounds within the seconds and scores the last network."""
    clock = getattr(time, CLOCK)
    pixels = Pixels.of(data.train, data.image)
    left, network, steps, making = seconds, None, [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        examples = examples_artifact(Path(scratch, "examples"), {"train": data.train})
        for number, one in enumerate(rounds):
            started = clock()
            folder = Path(scratch, str(number))
            mines = one.triplets.needs_model
            model = export(network, pixels, folder / "model") if mines else None
            settings = one.triplets.model_copy(update={"seed": seed})
            shards = run_triplet_gen(examples, folder / "triplets", settings, model)
            if number:  # the first triplets cost every case the same
                making += clock() - started
                left -= clock() - started
            done = train(
                ModelSettings(),
                TrainingSettings(**COMMON | one.training, seed=seed),
                shards,
                pixels,
                clock=CLOCK,
                seconds=left if number == len(rounds) - 1 else one.share * seconds,
                start=network if one.warm else None,
            )
            left -= done.seconds
            network = done.network
            steps.append(done.steps)
    tests = {name: score(rows, embed(network, pixels, rows)) for name, rows in data.tests.items()}
    return {"steps": steps, "triplet_gen_seconds": round(making, 1), **tests}


def peers(python: str, miner: str, data: QualitySet, seconds: float, seed: int) -> dict[str, Any]:
    rows = [row for test in data.tests.values() for row in test]
    settings = TrainingSettings(**COMMON)
    embeddings, steps = peer(
        python,
        Pixels.of(data.train, data.image),
        data.train,
        rows,
        miner=miner,
        seconds=seconds,
        clock=CLOCK,
        seed=seed,
        batch=PEER_BATCH,
        images_per_class=settings.images_per_class,
        rate=settings.learning_rate,
        cosine=True,
        bfloat16=True,
        max_shift=settings.max_shift,
        max_rotation=settings.max_rotation,
    )
    ends = np.cumsum([len(test) for test in data.tests.values()])[:-1]
    parts = zip(data.tests.items(), np.split(embeddings, ends), strict=True)
    return {"steps": [steps], **{name: score(test, part) for (name, test), part in parts}}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="many-classes", help="what to train on")
    parser.add_argument("--only", action="append", help="name of a case to run, several times")
    parser.add_argument("--seconds", type=float, default=120, help="of the processor, each case")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--choosing", action="store_true", help="sets for choosing settings")
    parser.add_argument("--peer-python", help="interpreter with pytorch-metric-learning")
    parser.add_argument("--idx", type=Path, help="not used: the images are drawn")
    options = parser.parse_args(argv)
    names = [*CASES, *(f"peer, {miner}" for miner in PEERS if options.peer_python)]
    first = CHOOSING if options.choosing else 0
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(first, first + options.seeds):
        data = SETS[options.set](seed)
        for name in names:
            if name not in (options.only or names):
                continue
            if name in CASES:
                result = ours(CASES[name], data, options.seconds, seed)
            else:
                miner = name.removeprefix("peer, ")
                result = peers(options.peer_python, miner, data, options.seconds, seed)
            found.setdefault(name, []).append(result)
            show({"benchmark": "many_classes", "set": options.set, "case": name, "seed": seed}
                 | {"seconds": options.seconds} | result)  # fmt: skip
    for name, results in found.items():
        summary = {
            test: {
                metric: _summary([result[test][metric] for result in results])
                for metric in ("precision@1", "map@r")
            }
            for test in data.tests
        }
        show({"benchmark": "many_classes", "set": options.set, "case": name} | summary)


def _summary(values: list[float]) -> dict[str, float]:
    mean = round(float(np.mean(values)), 4)
    return {"mean": mean, "least": min(values), "largest": max(values)}


if __name__ == "__main__":
    main()
