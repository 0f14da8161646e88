"""Trains on two logical devices: `python -m tests.modules.training.replicas`.

Each line of the standard input is a job, JSON of a name in JOBS and its arguments; for each a line
with its result is written, or `{"error": …}`. The libraries are loaded once, and a fork does each
job: logical devices must be made before TensorFlow starts, and a second mirrored training in one
process would take the collective operations of the first for its own.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.images import decode_images
from modules.models import normalisations_that_learn
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.fitting import compile_model, make_strategy
from tests.modules.training.training_runs import PLAIN, Run
from tests.real_data import digits


def two_steps(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What two steps with 50 digits come to, by distribution."""
    images = tf.constant([image for image, _, _ in digits(5)])
    pixels = (decode_images(images, ImageSettings()) - 0.13) / 0.31
    order = np.random.default_rng(0).permutation(50)
    batch = tf.gather(pixels, order), tf.constant(order // 5, tf.int32)
    model = ModelSettings(embedding_size=8, batch_norm=False)  # each replica has its own
    found = {}
    for distribution in ("one", "/CPU:1", "mirrored"):
        training = TrainingSettings(distribution=distribution, **PLAIN | settings)
        keras.utils.set_random_seed(0)
        strategy = make_strategy(distribution)
        with strategy.scope():
            embedder = build_embedding_model(model, ImageSettings(), training.precision)
            trainer = compile_model(embedder, training, 9, model, np.arange(10))
        fit = trainer.fit(
            tf.data.Dataset.from_tensors(batch).repeat(2), epochs=1, shuffle=False, verbose=0
        )
        optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
        memory = trainer.memory.variables if trainer.memory else []
        found[distribution] = {
            "replicas": strategy.num_replicas_in_sync,
            "steps": int(trainer.steps_done.numpy()),
            "logs": {name: values[0] for name, values in fit.history.items()},
            "momentum": [m.numpy().ravel().tolist() for m in optimizer._momentums],
            "weights": [v.numpy().ravel().tolist() for v in trainer.trainable_variables],
            "memory": [v.numpy().ravel().tolist() for v in memory],
        }
    return found


def copies(settings: dict[str, Any]) -> dict[str, float]:
    """What a step on two replicas logs of ten images, five times each."""
    images = tf.constant([image for image, _, _ in digits(1)] * 5)
    batch = (decode_images(images, ImageSettings()) - 0.13) / 0.31, tf.tile(tf.range(10), [5])
    model = ModelSettings(embedding_size=8, batch_norm=False)
    with make_strategy("mirrored").scope():
        embedder = build_embedding_model(model, ImageSettings())
        trainer = compile_model(embedder, TrainingSettings(**PLAIN | settings), 9, model)
    fit = trainer.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    return {name: float(values[0]) for name, values in fit.history.items()}


def whole(folder: str, settings: dict[str, Any]) -> int:
    """Steps of a whole training on two replicas."""
    run = Run(Path(folder), steps=16, validate_every=8, **settings)
    with make_strategy("mirrored").scope():
        trainer = run.trainer()
    run.fit(trainer)
    return int(trainer.steps_done.numpy())


def statistics(folder: str) -> tuple[list[list[list[float]]], dict[str, float]]:
    """Each replica's copies of the batch normalisations after a training, and its best scores."""
    run = Run(Path(folder), ModelSettings(name="residual_cnn"), steps=16, validate_every=8)
    with make_strategy("mirrored").scope():
        trainer = run.trainer()
    _, best = run.fit(trainer)
    copies = [
        [copy.numpy().tolist() for copy in variable.value.values]
        for layer in normalisations_that_learn(trainer.embedder)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    return copies, best.scores


JOBS = {"two_steps": two_steps, "copies": copies, "whole": whole, "statistics": statistics}


def answer(name: str, *arguments: Any) -> str:
    """Does one job."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    sys.stdout = sys.stderr  # what training prints is no answer
    try:
        return json.dumps(JOBS[name](*arguments))
    except Exception:
        return json.dumps({"error": traceback.format_exc()})


def main() -> None:
    """Does the jobs."""
    answers = sys.stdout
    for line in sys.stdin:
        if not (child := os.fork()):
            answers.write(answer(*json.loads(line)) + "\n")
            answers.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            answers.write(json.dumps({"error": f"ended with status {status}"}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
