"""Trains with pytorch-metric-learning, in the process that `quality_runs.peer` starts.

    PYTHON peer_metric_learning.py DATA.npz EMBEDDINGS.npy PLAN

PYTHON is an interpreter that has torch and pytorch-metric-learning; nothing else of this project is
imported. DATA holds `train` and `test`, uint8 [N, H, W, C], and `labels`, integers [N] of `train`.
PLAN is `Plan` in JSON. The network is the small one of this project. Training ends after the
seconds of the plan; decoding and the first step are not counted. Prints one JSON line.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

# Threads that wait would use up seconds of the processor.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, samplers
from torch import nn

MARGIN = 0.2  # on cosines
RUNNING = 0.98  # momentum of averaged weights


class Plan(NamedTuple):
    """How to train; `seconds` are those of `clock`, a function of the module `time`.

    `miner` is `semi_hard` (distance, margin and reducer of the library's own MNIST example) or
    `multi_similarity` (Wang et al. 2019, arXiv:1904.06627, with the defaults of the library). A
    batch has `images_per_class` images of each of its classes, or random ones with 0. `cosine`: the
    rate falls over the seconds as that of `[training] schedule`, and weights are averaged.
    `bfloat16`: as `precision = "mixed_bfloat16"`.
    """

    miner: str
    seconds: float
    clock: str
    seed: int
    mean: list[float]
    deviation: list[float]
    batch: int = 256
    images_per_class: int = 0
    rate: float = 1e-3
    cosine: bool = False
    bfloat16: bool = False
    max_shift: float = 0.0
    max_rotation: float = 0.0


def network() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, 128),
    )  # fmt: skip


def pixels(images: np.ndarray, plan: Plan) -> torch.Tensor:
    mean, deviation = torch.tensor(plan.mean), torch.tensor(plan.deviation)
    # The channels stay last in memory, which is faster.
    return ((torch.from_numpy(images).float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


def augment(images: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Shifts and rotates as `modules.images.Augmentation` does."""
    if not (plan.max_shift or plan.max_rotation):
        return images
    angle, x, y = torch.rand(3, len(images)) * 2 - 1
    angle = angle * (2 * math.pi * plan.max_rotation)
    x, y = (2 * plan.max_shift * draw for draw in (x, y))  # the grid reaches from −1 to 1
    rows = (torch.cos(angle), -torch.sin(angle), x, torch.sin(angle), torch.cos(angle), y)
    grid = nn.functional.affine_grid(
        torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False
    )
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def mining(name: str) -> tuple[nn.Module, nn.Module]:
    """The miner and its loss."""
    if name == "multi_similarity":
        return miners.MultiSimilarityMiner(), losses.MultiSimilarityLoss()
    distance = distances.CosineSimilarity()
    return (
        miners.TripletMarginMiner(MARGIN, type_of_triplets="semihard", distance=distance),
        losses.TripletMarginLoss(
            MARGIN, distance=distance, reducer=reducers.ThresholdReducer(low=0)
        ),
    )


def batches(labels: torch.Tensor, plan: Plan) -> Iterator[torch.Tensor]:
    """Rows of batches, without end."""
    count, per_class = len(labels), plan.images_per_class
    while True:
        if not per_class:
            yield from torch.randperm(count).split(plan.batch)
            continue
        size = min(plan.batch, per_class * len(labels.unique()))
        size -= size % per_class
        drawn = samplers.MPerClassSampler(labels, per_class, size, max(count, size))
        yield from torch.tensor(list(drawn)).split(size)


def train(images: torch.Tensor, labels: torch.Tensor, plan: Plan) -> tuple[nn.Module, int]:
    """Returns the network and the number of steps."""
    model = network()
    model(images[:2])  # makes the lazy layers
    model.to(memory_format=torch.channels_last)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(RUNNING)
    )
    optimizer = torch.optim.Adam(model.parameters(), plan.rate)
    miner, loss = mining(plan.miner)
    clock = getattr(time, plan.clock)
    started = 0.0
    for steps, rows in enumerate(batches(labels, plan)):
        share = (clock() - started) / plan.seconds if steps else 0.0
        if share >= 1:
            return (averaged.module if plan.cosine else model), steps
        if plan.cosine:
            optimizer.param_groups[0]["lr"] = plan.rate * (1 + math.cos(math.pi * share)) / 2
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
            embeddings = model(augment(images[rows], plan)).float()
        loss(embeddings, labels[rows], miner(embeddings, labels[rows])).backward()
        optimizer.step()
        if plan.cosine:
            averaged.update_parameters(model)
        started = started or clock()
    raise AssertionError("batches never end")


def main(data: str, output: str, plan_json: str) -> None:
    plan = Plan(**json.loads(plan_json))
    torch.manual_seed(plan.seed)
    np.random.seed(plan.seed)  # the sampler's
    with np.load(data) as stored:
        images, test = pixels(stored["train"], plan), pixels(stored["test"], plan)
        labels = torch.from_numpy(stored["labels"].astype(np.int64))
    model, steps = train(images, labels, plan)
    with torch.no_grad():
        unit = nn.functional.normalize(torch.cat([model(part) for part in test.split(500)]))
    np.save(output, unit.numpy())
    print(json.dumps({"steps": steps}))


if __name__ == "__main__":
    main(*sys.argv[1:])
