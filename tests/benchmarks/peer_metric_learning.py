"""Trains with pytorch-metric-learning, for `bench_quality --peer-python`.

    PYTHON peer_metric_learning.py DATA.npz SECONDS SEED EMBEDDINGS.npy

PYTHON is an interpreter that has torch and pytorch-metric-learning; nothing else of this project is
imported. DATA holds `train` and `test`, uint8 [N, 28, 28], and `labels`, integers [N] of `train`.
Distance, miner, reducer, margin and batch are those of the library's own MNIST example; the network
is the small one of this project. Training ends after SECONDS. Prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import nn

BATCH, RATE, MARGIN = 256, 1e-3, 0.2


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 128),
    )  # fmt: skip


def pixels(images: np.ndarray) -> torch.Tensor:
    return ((torch.from_numpy(images).float() / 255 - 0.1307) / 0.3081)[:, None]


def train(images: torch.Tensor, labels: torch.Tensor, seconds: float) -> tuple[nn.Module, int]:
    """Returns the network and the number of steps."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    distance = distances.CosineSimilarity()
    miner = miners.TripletMarginMiner(MARGIN, type_of_triplets="semihard", distance=distance)
    loss = losses.TripletMarginLoss(
        MARGIN, distance=distance, reducer=reducers.ThresholdReducer(low=0)
    )
    steps, started = 0, time.perf_counter()
    while True:
        for rows in torch.randperm(len(images)).split(BATCH):
            if time.perf_counter() - started > seconds:
                return model, steps
            optimizer.zero_grad()
            embeddings = model(images[rows])
            loss(embeddings, labels[rows], miner(embeddings, labels[rows])).backward()
            optimizer.step()
            steps += 1


def main(data: str, seconds: str, seed: str, output: str) -> None:
    torch.manual_seed(int(seed))
    with np.load(data) as stored:
        images, test = pixels(stored["train"]), pixels(stored["test"])
        labels = torch.from_numpy(stored["labels"].astype(np.int64))
    model, steps = train(images, labels, float(seconds))
    with torch.no_grad():
        unit = nn.functional.normalize(torch.cat([model(part) for part in test.split(500)]))
    np.save(output, unit.numpy())
    print(json.dumps({"steps": steps, "images_per_step": BATCH}))


if __name__ == "__main__":
    main(*sys.argv[1:])
