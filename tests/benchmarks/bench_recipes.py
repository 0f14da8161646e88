"""How good the recipes are: the whole pipeline, as people start it, on drawn sets of that shape.

    python -m tests.benchmarks.bench_recipes [--only NAME] [--seeds N] [--choosing]
        [--minutes M | --cpu-seconds S] [--peer-python PYTHON] [--faces DIR] [--idx DIR]

Each ready configuration runs as it is, with folders of its own and, if given, other minutes of
training; everything else is in its file. It is scored by its own Evaluator on classes never trained
on. The sets are those of `quality_sets`, and `plain-characters`, characters without twins; with
`--faces` also two of folders of .pgm files: `real-faces`, where a seed chooses the people to score,
and `ready-faces`, where they are those that the recipe itself holds out.
`--choosing` draws sets that no reported figure is of.

With `--cpu-seconds` the network, its images and its training are those of the recipe, and the rest
of the pipeline is left out: nothing is held out, the weights are those of the end, and the seconds
are those of the processor, so that other work on the machine counts little.

Prints one JSON line for each recipe and seed. The peer is pytorch-metric-learning with its
multi-similarity miner, on the small network, for as many minutes or seconds of the processor as
ours took, see `bench_many_classes`. `--idx` is there because `make bench` gives it to all
benchmarks; it has no effect.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules.gate import read_report
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.storage import read_text
from pipeline.config import parse_config
from pipeline.config.loading import CONFIGS
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, latest_run
from tests.benchmarks.drawn_classes import drawn_classes
from tests.benchmarks.quality_runs import (
    Pixels,
    embed,
    peer,
    score,
    show,
    train,
    write_triplets,
)
from tests.benchmarks.quality_sets import CHOOSING, SETS, QualitySet, ready_faces, real_faces
from tests.real_data import Row

REAL_FACES, READY_FACES = "real-faces", "ready-faces"
RECIPES = {
    "characters": "characters",
    "plain-characters": "characters",
    "faces": "faces",
    "products": "products",
    "near-duplicates": "near-duplicates",
    REAL_FACES: "faces",
    READY_FACES: "faces",
}
PEER_BATCH = 192  # images


def choose_set(name: str, seed: int, faces: Path | None) -> QualitySet:
    if name == REAL_FACES:
        return real_faces(faces, seed)
    if name == READY_FACES:
        return ready_faces(faces)
    if name != "plain-characters":
        return SETS[name](seed)
    train, unseen = (
        drawn_classes(classes, 20, 2 * seed + part, size=35, twins=False)
        for part, classes in enumerate((100, 50))
    )
    return QualitySet(train, {"unseen": unseen}, ImageSettings(height=35, width=35))


def put_into_folders(rows: list[Row], folder: Path) -> None:
    for number, (image, label, _) in enumerate(rows):
        of_class = folder / label.decode()
        of_class.mkdir(parents=True, exist_ok=True)
        (of_class / f"{number:06d}.png").write_bytes(image)


def artifact(run: Run, node: str, key: str) -> str:
    found = next(one for one in run.nodes if one.node == node)
    return found.outputs[key]["uri"]


def ours(recipe: str, data: QualitySet, minutes: float | None, seed: int) -> dict[str, Any]:
    """Runs the whole pipeline."""
    tables = tomllib.loads((CONFIGS / f"{recipe}.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        put_into_folders(data.train, Path(scratch, "data/train"))
        put_into_folders(data.tests["unseen"], Path(scratch, "data/eval"))
        tables["pipeline"]["directory"] = scratch
        tables["data"] |= {"path": f"{scratch}/data", "split": "given"}
        tables["training"]["seed"] = seed
        if minutes:
            tables["training"]["minutes"] = minutes
        config = parse_config(tables, recipe)
        started = time.monotonic()
        run_pipeline(config)
        seconds = time.monotonic() - started
        run = latest_run(config)
        training = json.loads(read_text(f"{artifact(run, 'Trainer', 'model_run')}/training.json"))
        report = read_report(artifact(run, "Evaluator", "evaluation"))
    found = report.metrics["candidate"]["overall"]
    return {
        "minutes": round(training["seconds"] / 60, 2),
        "steps": training["steps"],
        "stopped": training["stopped"],
        "run_seconds": round(seconds, 1),
        **{name: round(found[name], 4) for name in ("precision@1", "map@r")},
    }


def trained_alone(recipe: str, data: QualitySet, seconds: float, seed: int) -> dict[str, Any]:
    """Trains without the pipeline around it."""
    tables = tomllib.loads((CONFIGS / f"{recipe}.toml").read_text(encoding="utf-8"))
    training = TrainingSettings.model_validate(tables["training"] | {"seed": seed})
    image = data.image.model_copy(update=tables.get("image", {}))
    pixels = Pixels.of(data.train, image)
    with tempfile.TemporaryDirectory() as scratch:
        found = train(
            ModelSettings.model_validate(tables["model"]),
            training,
            write_triplets(data.train, Path(scratch)),
            pixels,
            clock="process_time",
            seconds=seconds,
        )
    unseen = data.tests["unseen"]
    scores = score(unseen, embed(found.network, pixels, unseen))
    return {"cpu_seconds": found.seconds, "steps": found.steps, **scores}


def peers(python: str, data: QualitySet, clock: str, seconds: float, seed: int) -> dict[str, Any]:
    settings = TrainingSettings()
    unseen = data.tests["unseen"]
    embeddings, steps = peer(
        python,
        Pixels.of(data.train, data.image),
        data.train,
        unseen,
        miner="multi_similarity",
        seconds=seconds,
        clock=clock,
        seed=seed,
        batch=PEER_BATCH,
        images_per_class=settings.images_per_class,
        rate=2e-3,
        cosine=True,
        bfloat16=True,
        max_shift=settings.max_shift,
        max_rotation=settings.max_rotation,
    )
    return {"clock": clock, "seconds": seconds, "steps": steps, **score(unseen, embeddings)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=RECIPES, help="several times")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of training; default: as the recipe says")
    budget.add_argument("--cpu-seconds", type=float, help="the training alone")
    parser.add_argument("--choosing", action="store_true", help="sets for choosing settings")
    parser.add_argument("--peer-python", help="interpreter with pytorch-metric-learning")
    parser.add_argument("--faces", type=Path, help="a folder for each person")
    parser.add_argument("--idx", type=Path, help="not used: the images are drawn")
    options = parser.parse_args(argv)
    of_files = {REAL_FACES, READY_FACES}
    if not options.faces and (named := of_files & {*(options.only or [])}):
        parser.error(f"{named.pop()} needs --faces")
    names = [name for name in RECIPES if options.faces or name not in of_files]
    first = CHOOSING if options.choosing else 0
    for seed in range(first, first + options.seeds):
        for name in options.only or names:
            data = choose_set(name, seed, options.faces)
            line = {"benchmark": "recipes", "set": name, "seed": seed}
            if options.cpu_seconds:
                found = trained_alone(RECIPES[name], data, options.cpu_seconds, seed)
                clock, seconds = "process_time", found["cpu_seconds"]
            else:
                found = ours(RECIPES[name], data, options.minutes, seed)
                clock, seconds = "perf_counter", 60 * found["minutes"]
            show(line | {"what": RECIPES[name]} | found)
            if options.peer_python:
                found = peers(options.peer_python, data, clock, seconds, seed)
                show(line | {"what": "peer, multi_similarity"} | found)


if __name__ == "__main__":
    main()
