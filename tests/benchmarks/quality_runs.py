"""What the benchmarks of quality share: triplets, a training, its scores, and the peer.

Everything that knows how TripletGen and the Trainer are called stands here.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.triplet_gen.executor import Executor
from modules.batches import LookUp, choose_batch_size
from modules.contract import IMAGE
from modules.export.saved_model import EmbeddingModule
from modules.images import decode_images
from modules.models import build_embedding_model, compile_embedding, embed_in_batches
from modules.retrieval import make_gallery, score_queries
from modules.settings import ImageSettings, ModelSettings, TrainingSettings, TripletSettings
from modules.training.fitting import compile_model, training_batches
from modules.training.pace import WITHOUT_END
from tests.real_data import BEAM_ARGS, Row, examples_artifact

# Images of a batch of triplets, as many as in one of classes.
BATCH = choose_batch_size(ImageSettings())
# What is trained against others has their images: the least that TripletGen can hold out.
ALL_IMAGES = {"validation": "images", "validation_images": 2}
SPLITS = {"train_split": "train", "eval_split": "eval"}
PEER = Path(__file__).with_name("peer_metric_learning.py")


class Pixels(keras.layers.Layer):
    """Encoded images to standardised pixels, in the place of a transform graph.

    `mean` and `deviation` are of pixels in 0…1, one number for each channel.
    """

    def __init__(
        self, image: ImageSettings, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        super().__init__()
        self.image, self.mean, self.deviation = image, list(mean), list(deviation)

    @classmethod
    def of(cls, rows: list[Row], image: ImageSettings) -> Pixels:
        """By the first 2,000 images of a training."""
        pixels = decode_images(tf.constant([encoded for encoded, _, _ in rows[:2000]]), image)
        mean, variance = tf.nn.moments(pixels, [0, 1, 2])
        return cls(image, mean.numpy().tolist(), tf.sqrt(variance).numpy().tolist())

    def images(self, encoded: tf.Tensor) -> tf.Tensor:
        """String [N] to float32 [N, H, W, C]."""
        return (decode_images(encoded, self.image) - self.mean) / self.deviation

    def call(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {IMAGE: self.images(tf.reshape(features[IMAGE], [-1]))}


def write_triplets(
    rows: list[Row],
    folder: Path,
    settings: TripletSettings | None = None,
    model: standard_artifacts.Model | None = None,
) -> str:
    """Runs TripletGen on rows, by default to train on all of them; see `run_triplet_gen`."""
    examples = examples_artifact(folder / "examples", {"train": rows})
    settings = settings or TripletSettings(**ALL_IMAGES)
    return run_triplet_gen(examples, folder / "triplets", settings, model)


def run_triplet_gen(
    examples: standard_artifacts.Examples,
    folder: Path,
    settings: TripletSettings,
    model: standard_artifacts.Model | None = None,
) -> str:
    """Runs TripletGen on the split `train`; returns the pattern of its shards to train on."""
    triplets = standard_artifacts.Examples()
    triplets.uri = str(folder)
    context = Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=BEAM_ARGS))
    Executor(context).Do(
        {"examples": [examples], "model": [model] if model else []},
        {"triplets": [triplets]},
        SPLITS | settings.model_dump(exclude_unset=True),
    )
    return f"{triplets.uri}/Split-train/*"


def export(network: keras.Model, pixels: Pixels, folder: Path) -> standard_artifacts.Model:
    """The model as the Trainer exports it, for TripletGen to mine with."""
    model = standard_artifacts.Model()
    model.uri = str(folder)
    EmbeddingModule(network, pixels).save(path_utils.serving_model_dir(model.uri))
    return model


class Budget(keras.callbacks.Callback):
    """Counts the seconds of a training, and ends it after `limit` of them.

    The first step, which traces, is not counted. With a limit the rate falls over the seconds as it
    would over the steps.
    """

    def __init__(self, clock: str, limit: float | None = None) -> None:
        super().__init__()
        self._clock, self._limit = getattr(time, clock), limit
        self.steps = 0
        self.seconds = 0.0

    def count(self, seconds: float) -> None:
        """Adds what was spent before the first step."""
        self.seconds += seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = self._clock()
        self.seconds += now - self._last if self.steps else 0.0
        self._last = now
        self.steps += 1
        if self._limit:
            share = min(1.0, self.seconds / self._limit)
            if share > 0:  # as many steps as the seconds allow at this pace
                self.model.total_steps.assign(math.ceil(self.steps / share))
            self.model.stop_training = share == 1


class Trained(NamedTuple):
    """A network in float32 and what its training took, reading and decoding included."""

    network: keras.Model
    steps: int
    seconds: float


def train(
    model: ModelSettings,
    training: TrainingSettings,
    shards: str,
    pixels: Pixels,
    *,
    clock: str = "perf_counter",
    seconds: float | None = None,
    start: keras.Model | None = None,
    earlier: LookUp | None = None,
) -> Trained:
    """Trains `training.steps` steps, or for so many seconds.

    Args:
        model: The network.
        training: The loss, the batches, the optimizer.
        shards: What `write_triplets` returned.
        pixels: Of the images.
        clock: A function of the module `time` that counts seconds.
        seconds: Those of the clock, instead of the steps.
        start: A network to start from.
        earlier: Embeddings of an earlier model, by the keys of the images.

    Returns:
        The network at the end, and what was spent on it.
    """
    keras.utils.set_random_seed(training.seed)
    budget = Budget(clock, seconds)
    steps = None if seconds else training.steps
    embedder = build_embedding_model(model, pixels.image, training.precision)
    if start:
        embedder.set_weights(start.get_weights())
    trainer = compile_model(embedder, training, steps, model)
    now = getattr(time, clock)
    started = now()
    size = training.batch_size or BATCH
    batches = training_batches([shards], pixels.images, training, size, beside=earlier)
    budget.count(now() - started)
    trainer.fit(
        batches, steps_per_epoch=steps or WITHOUT_END, shuffle=False, verbose=0, callbacks=[budget]
    )
    served = build_embedding_model(model, pixels.image)
    served.set_weights(embedder.get_weights())  # the averaged ones: Keras keeps them at the end
    return Trained(served, budget.steps, round(budget.seconds, 1))


def embed(network: keras.Model, pixels: Pixels, test: list[Row]) -> np.ndarray:
    images = [image for image, _, _ in test]
    return embed_in_batches(compile_embedding(network, pixels.images), images)


def score(test: list[Row], embeddings: np.ndarray) -> dict[str, float]:
    """Leave-one-out within `test`."""
    _, labels, ids = (np.array(column, object) for column in zip(*test, strict=True))
    scores = score_queries(make_gallery(ids, labels, embeddings), [1, 10])
    return {
        name: round(float(np.nanmean(scores[name])), 4)
        for name in ("precision@1", "precision@10", "map@r")
    }


def peer(
    python: str, pixels: Pixels, train: list[Row], test: list[Row], **plan: Any
) -> tuple[np.ndarray, int]:
    """pytorch-metric-learning in a process of its own.

    Args:
        python: An interpreter that has it.
        pixels: Size and standard of the images.
        train: To learn from.
        test: To embed.
        plan: Of `peer_metric_learning.Plan`, without mean and deviation.

    Returns:
        The embeddings of `test`, float32 [N, 128], and the number of steps.

    Raises:
        SystemExit: It cannot run; the message is that of the process.
    """

    def raw(rows: list[Row]) -> np.ndarray:
        encoded = tf.constant([image for image, _, _ in rows])
        return np.rint(decode_images(encoded, pixels.image).numpy() * 255).astype(np.uint8)

    _, codes = np.unique([label for _, label, _ in train], return_inverse=True)
    plan |= {"mean": pixels.mean, "deviation": pixels.deviation}
    with tempfile.TemporaryDirectory() as scratch:
        data, found = f"{scratch}/data.npz", f"{scratch}/embeddings.npy"
        np.savez(data, train=raw(train), labels=codes, test=raw(test))
        command = [python, str(PEER), data, found, json.dumps(plan)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{python} cannot run {PEER.name}:\n{done.stderr[-2000:]}")
        return np.load(found), json.loads(done.stdout.splitlines()[-1])["steps"]


def show(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
