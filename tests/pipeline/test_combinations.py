"""Every combination of strategy, batches, mining and loss is refused, or uses what it names.

TripletGen writes the triplets of each strategy with a real model. Then each accepted combination
puts the loss of its first batch, of one embedding that stays, beside those of all others: if a key
had no effect, two combinations that differ in it would have the same loss.
"""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from modules.batches import TransformImages
from modules.images import decode_images
from modules.losses import Rows, make_objective
from modules.settings import ImageSettings, TrainingSettings
from modules.settings.loss import Losses, Minings
from modules.settings.triplets import Strategy
from modules.training.fitting import training_batches
from pipeline.config import parse_config
from pipeline.runtime import ConfigError
from tests.components.triplet_gen.triplet_models import model_artifact
from tests.components.triplet_gen.triplet_node import make
from tests.real_data import digits, examples_artifact

BATCHES = ("triplets", "classes")
# Other than the losses of triplets, which need a mining, losses look at all rows.
OF_TRIPLETS = ("margin", "soft_margin")
COMBINATIONS = [
    dict(zip(("strategy", "batches", "mining", "loss"), values, strict=True))
    for values in itertools.product(
        get_args(Strategy), BATCHES, (None, *get_args(Minings)), get_args(Losses)
    )
]
NO_CACHE = {"cache_megabytes": 0, "disk_cache_megabytes": 0}


def config_of(combination: dict[str, Any]) -> Any:
    """The configuration; keys that are None are left out."""
    training = {name: combination[name] for name in ("batches", "mining", "loss")}
    size = NO_CACHE | (
        {"batch_size": 60} if combination["batches"] == "triplets" else {"classes_per_batch": 15}
    )
    return parse_config(
        {
            "pipeline": {"name": "mine"},
            "data": {"path": "photos"},
            "triplets": {"strategy": combination["strategy"]},
            "training": {name: value for name, value in training.items() if value} | size,
        },
        "test",
    )


def accepted() -> list[tuple[dict[str, Any], TrainingSettings]]:
    found = []
    for combination in COMBINATIONS:
        try:
            found.append((combination, config_of(combination).training))
        except ConfigError:
            continue
    return found


def test_what_is_refused_is_refused_for_a_reason() -> None:
    for combination in COMBINATIONS:
        of_triplets = combination["loss"] in OF_TRIPLETS
        reasons = [
            (combination["batches"] == "classes", "triplets.strategy has no effect"),
            (combination["mining"] is not None and not of_triplets, "mining has no effect"),
            (
                combination["batches"] == "classes" and combination["mining"] == "none",
                "'none' trains on TripletGen's triplets",
            ),
        ]
        expected = [reason for applies, reason in reasons if applies]
        if not expected:
            config_of(combination)
            continue
        with pytest.raises(ConfigError) as refused:
            config_of(combination)
        assert any(reason in str(refused.value) for reason in expected)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, list[str]]:
    """Patterns of the triplets of each strategy. Classes differ in size, else no class is rare."""
    root: Path = tmp_path_factory.mktemp("strategies")
    rows = digits(16, classes=range(5)) + digits(6, classes=range(5, 10))
    examples = examples_artifact(root / "examples", {"train": rows, "eval": digits(2, start=20)})
    model = model_artifact(root / "model")
    made = {
        strategy: make(root / strategy, examples, models=[model], strategy=strategy)
        for strategy in get_args(Strategy)
    }
    return {strategy: [f"{output.uri}/Split-train/*"] for strategy, output in made.items()}


@cache
def embed(encoded: bytes) -> np.ndarray:
    pixels = decode_images(tf.constant([encoded]), ImageSettings(height=7, width=7))
    return tf.math.l2_normalize(tf.reshape(pixels - 0.13, [1, -1]), axis=1).numpy()[0]


def first_loss(pattern: list[str], settings: TrainingSettings) -> float:
    """The loss of the first batch, by an embedding that does not learn."""
    as_they_are: TransformImages = tf.identity
    images, labels = next(iter(training_batches(pattern, as_they_are, settings, 60)))
    embeddings = tf.constant(np.stack([embed(image) for image in images.numpy()]))
    classes = tf.sort(tf.unique(labels).y)
    proxies = tf.math.l2_normalize(tf.random.stateless_normal([len(classes), 49], [1, 2]), axis=1)
    objective = make_objective(settings, classes, lambda: proxies)
    return float(objective(Rows(labels, embeddings), None, tf.constant([0, 0])).loss)


def test_each_accepted_combination_uses_what_it_names(files) -> None:
    combinations = accepted()
    # 4 strategies with 6 minings named or none named, for two losses, and with three other losses.
    # Batches of classes refuse every strategy that is named: see the next test.
    assert len(combinations) == 4 * (2 * 7 + 3)
    losses: dict[tuple, float] = {}
    for combination, settings in combinations:
        key = (combination["strategy"], settings.mining, settings.loss)  # semi_hard is the default
        loss = first_loss(files[combination["strategy"]], settings)
        assert losses.setdefault(key, loss) == loss
    rounded = [round(loss, 6) for loss in losses.values()]
    assert len(losses) == 4 * (2 * 6 + 3)
    assert len(set(rounded)) == len(rounded)


def test_batches_of_classes_do_not_depend_on_the_triplets(files) -> None:
    """They accept no strategy, and are the same whatever TripletGen did with the same images."""
    values = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}}
    training = {"batches": "classes", "classes_per_batch": 15} | NO_CACHE
    losses: dict[str, dict[str, float]] = {}
    for mining in ("all", "semi_hard", "hard", "easy_positive", "distance_weighted"):
        settings = parse_config(values | {"training": training | {"mining": mining}}, "t").training
        losses[mining] = {name: first_loss(pattern, settings) for name, pattern in files.items()}
    for of_strategy in losses.values():
        assert len(set(of_strategy.values())) == 1
    assert len({of_strategy["random"] for of_strategy in losses.values()}) == len(losses)
