"""Several replicas make the step that one device makes with the whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modules.settings import TrainingSettings
from modules.training.fitting import make_strategy
from pipeline.config.paths import PROJECT


@pytest.fixture(scope="module")
def replicas():
    """Does a job of `tests.modules.training.replicas`, in a process with two devices."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.modules.training.replicas"],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def ask(*job: object) -> Any:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
            assert not (isinstance(found, dict) and "error" in found), found["error"]
            return found

        yield ask
        process.stdin.close()


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
def test_two_replicas_mine_the_whole_batch(replicas, settings: dict) -> None:
    """Each embeds 25 of 50 digits. The first momentum is a tenth of the gradient."""
    found = replicas("two_steps", settings)
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


@pytest.mark.slow
def test_replicas_bend_a_class_alike(replicas) -> None:
    """Of copies of an image those with one label stay copies, and a class becomes two at most."""
    found = replicas("copies", {"loss": "supervised_contrastive", "bend_classes": 0.2})
    assert found["d_ap"] == pytest.approx(0, abs=1e-5)
    assert found["d_an"] > 0.1
    assert 10 < found["classes"] <= 2 * 10  # of ten digits


# Batches of triplets; what has no effect on them is left at its default.
TRIPLETS = {"batches": "triplets"} | {
    name: TrainingSettings.model_fields[name].default
    for name in ("classes_per_batch", "images_per_class")
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        # 180 digits in chunks of 3 make 4 batches of 45, or 7 of 24 and 27.
        {"classes_per_batch": 19},
        {"classes_per_batch": 9},
        {"batch_size": 61} | TRIPLETS,
        # 41 triplets, of which two replicas share 40.
        {"mining": "none", "batch_size": 123} | TRIPLETS,
    ],
)
def test_a_whole_training_on_two_replicas(replicas, tmp_path, settings: dict) -> None:
    assert replicas("whole", str(tmp_path), settings) == 16


@pytest.mark.slow
def test_all_replicas_have_the_same_statistics(replicas, tmp_path) -> None:
    """Those of batch normalisation, which each replica estimates."""
    copies, scores = replicas("statistics", str(tmp_path))
    assert len(copies) > 2
    for first, second in copies:
        np.testing.assert_array_equal(first, second)
    assert scores["val_precision@1"] > 0.6


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'/GPU:9': there is no such device here, only .*CPU:0"):
        make_strategy("/GPU:9")
    assert make_strategy("/CPU:0").num_replicas_in_sync == 1
    assert make_strategy("one") is tf.distribute.get_strategy()
