"""Several replicas make the step that one device makes with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from modules.settings import TrainingSettings
from modules.training.fitting import make_strategy

# In a process of its own: logical devices must be made before TensorFlow starts.
TRAIN = """
import json, sys
import keras
import numpy as np
import tensorflow as tf

settings = json.loads(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from modules.models.embedding_network import build_embedding_model
from modules.images import decode_images
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.fitting import compile_model, make_strategy
from tests.modules.training.training_runs import PLAIN
from tests.real_data import digits

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
    found[distribution] = {
        "replicas": strategy.num_replicas_in_sync,
        "steps": int(trainer.steps_done.numpy()),
        "logs": {name: values[0] for name, values in fit.history.items()},
        "momentum": [m.numpy().ravel().tolist() for m in optimizer._momentums],
        "weights": [v.numpy().ravel().tolist() for v in trainer.trainable_variables],
        "memory": [v.numpy().ravel().tolist() for v in trainer.memory.variables]
        if trainer.memory else [],
    }
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"mining": "semi_hard", "clip_norm": 0.05, "ema": 0.9, "weight_decay": 0.01},
        {"mining": "hard", "warmup_steps": 1, "precision": "mixed_float16"},
        {"loss": "supervised_contrastive", "memory": 70},
        {"loss": "proxy_anchor", "turn_classes": True, "mirror_classes": True},
    ],
)
def test_two_replicas_mine_the_whole_batch(settings: dict) -> None:
    """Each embeds 25 of 50 digits. The first momentum is a tenth of the gradient."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, json.dumps(settings)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    one, device, mirrored = found["one"], found["/CPU:1"], found["mirrored"]
    assert (one["replicas"], device["replicas"], mirrored["replicas"]) == (1, 1, 2)
    half = "precision" in settings
    tolerance = 0.1 if half else 1e-3
    for other in (device, mirrored):
        assert other["steps"] == 2
        assert other["logs"] == pytest.approx(one["logs"], rel=tolerance)
        for name in ("momentum", "weights", "memory"):
            vectors = [
                (np.array(a), np.array(b)) for a, b in zip(one[name], other[name], strict=True)
            ]
            if half and vectors:
                # Hard mining may choose another of two rows that differ by a rounding of float16,
                # which moves some bias a lot and all weights together little.
                vectors = [tuple(map(np.concatenate, zip(*vectors, strict=True)))]
            for a, b in vectors:
                assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(a), 1e-6)


FIT = """
import json, sys
from pathlib import Path
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from modules.training.fitting import make_strategy
from tests.modules.training.training_runs import Run

run = Run(Path(sys.argv[1]), steps=16, validate_every=8, **json.loads(sys.argv[2]))
with make_strategy("mirrored").scope():
    trainer = run.trainer()
run.fit(trainer)
print(int(trainer.steps_done.numpy()))
"""
# Batches of triplets; what has no effect on them is left at its default.
TRIPLETS = {"batches": "triplets"} | {
    name: TrainingSettings.model_fields[name].default
    for name in ("classes_per_batch", "images_per_class")
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "result"),
    [
        # 180 digits in chunks of 3 make 4 batches of 45, or 7 of 24 and 27.
        ({"classes_per_batch": 19}, "16"),
        ({"classes_per_batch": 9}, "16"),
        ({"batch_size": 61} | TRIPLETS, "16"),
        # 41 triplets, of which two replicas share 40.
        ({"mining": "none", "batch_size": 123} | TRIPLETS, "16"),
    ],
)
def test_a_whole_training_on_two_replicas(tmp_path, settings: dict, result: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path), json.dumps(settings)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith(result)


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'/GPU:9': there is no such device here, only .*CPU:0"):
        make_strategy("/GPU:9")
    assert make_strategy("/CPU:0").num_replicas_in_sync == 1
    assert make_strategy("one") is tf.distribute.get_strategy()
