"""Every loss with every mining and a memory trains, and every option of a loss has an effect."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from modules.images import decode_images
from modules.losses import Rows
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.settings.loss import OPTIONS, Minings
from modules.training.fitting import compile_model
from modules.training.triplet_model import TripletModel
from tests.modules.losses.test_own_code import own_module as own_module
from tests.modules.training.training_runs import PLAIN
from tests.real_data import digits

CLASSES = np.arange(10)
TRIPLET_LOSSES = ["margin", "soft_margin"]
OTHERS = [name for name in OPTIONS if name not in TRIPLET_LOSSES]
OWN: list[dict[str, Any]] = [
    {"loss": "mine.code:Pull", "loss_options": {"weight": 2.0}},
    {"mining": "mine.code:hardest"},
    {"mining": "mine.code:hardest", "memory": 40},
]
# Values other than the defaults; `margin` is of the cosine with proxy_anchor.
CHANGED = {
    "distance": "cosine", "margin": 0.35, "mining": "all", "swap": True, "alpha": 7.0, "beta": 9.0,
    "base": 0.1, "epsilon": 0.8, "temperature": 0.4,
}  # fmt: skip


def accepted(loss: str, mining: str | None, swap: bool, memory: int) -> dict[str, Any] | None:
    given = {"loss": loss, "swap": swap, "memory": memory, "warmup_steps": 0}
    if mining is not None:
        given["mining"] = mining
    try:
        TrainingSettings(**given)
    except ValidationError:
        return None
    return given


COMBINATIONS = [
    given
    for loss in OPTIONS
    for mining, swap, memory in itertools.product(
        (None, *get_args(Minings)), (False, True), (0, 40)
    )
    if (given := accepted(loss, mining, swap, memory)) is not None
]


@pytest.fixture(scope="module")
def batch() -> tuple[tf.Tensor, tf.Tensor]:
    """Three digits of each class in some order; thirty rows are also ten triplets."""
    rows = digits(3)
    order = np.random.default_rng(0).permutation(30)
    images = decode_images(tf.constant([rows[i][0] for i in order]), ImageSettings())
    return images, tf.constant([int(rows[i][1]) for i in order], tf.int64)


def make(**training: Any) -> TripletModel:
    keras.utils.set_random_seed(0)
    settings = TrainingSettings(**PLAIN | training)
    embedder = build_embedding_model(
        ModelSettings(embedding_size=8, batch_norm=False), ImageSettings()
    )
    return compile_model(embedder, settings, 2, ModelSettings(), CLASSES)


def test_which_combinations_there_are() -> None:
    """Six minings and the default; three of them with swap, and all but `none` with a memory."""
    assert {c["loss"] for c in COMBINATIONS} == {*OPTIONS}
    of_triplets = [c for c in COMBINATIONS if c["loss"] in TRIPLET_LOSSES]
    assert len(of_triplets) == 2 * (7 + 3 + 6)
    # Two of the others take a memory, none a mining or swap.
    assert len(COMBINATIONS) - len(of_triplets) == len(OTHERS) + 2


@pytest.mark.parametrize("given", COMBINATIONS + OWN, ids=str)
def test_two_steps(batch, own_module, given: dict[str, Any]) -> None:
    trainer = make(**given)
    before = [v.numpy() for v in trainer.trainable_variables]
    train_step = tf.function(trainer.train_step)
    for _ in range(2):
        logs = {name: float(value) for name, value in train_step(batch).items()}
    assert set(logs) == {"loss", "active", "d_ap", "d_an", "spread", "classes", "alone"}
    assert np.isfinite([*logs.values()]).all()
    assert 0 < logs["active"] <= 1
    assert min(logs["d_ap"], logs["d_an"], logs["loss"]) > 0
    for old, variable in zip(before, trainer.trainable_variables, strict=True):
        assert np.abs(variable.numpy() - old).max() > 0, variable.path
    if given.get("memory"):
        rows = trainer.memory.rows()
        assert rows.labels.shape == (40,)
        assert rows.embeddings.shape == (40, 8)


def loss_and_gradient(trainer: TripletModel, batch: tuple[tf.Tensor, tf.Tensor]) -> np.ndarray:
    weights = trainer.embedder.trainable_variables
    with tf.GradientTape() as tape:
        rows = Rows(batch[1], trainer(batch[0]))
        loss = trainer.evaluate_loss(rows).loss
    gradients = [tf.convert_to_tensor(g).numpy().ravel() for g in tape.gradient(loss, weights)]
    return np.concatenate([[float(loss)], *gradients])


@pytest.mark.parametrize(
    ("loss", "key"),
    [(loss, key) for loss in OPTIONS for key in OPTIONS[loss] if key in CHANGED],
)
def test_every_option_changes_loss_or_gradient(batch, loss: str, key: str) -> None:
    base = {"mining": "hard", "warmup_steps": 0} if key == "swap" else {}
    plain = loss_and_gradient(make(loss=loss, **base), batch)
    changed = loss_and_gradient(make(loss=loss, **base | {key: CHANGED[key]}), batch)
    assert np.abs(plain - changed).max() > 1e-4 * np.abs(plain).max()


def test_every_option_is_looked_at() -> None:
    keys = {key for options in OPTIONS.values() for key in options}
    assert keys - {*CHANGED} == {"proxy_learning_rate_factor"}  # the next test


def test_proxies_learn_at_their_own_rate(batch) -> None:
    """Adam's first step is as long as the rate."""
    trainer = make(loss="proxy_anchor", learning_rate=1e-3, proxy_learning_rate_factor=20.0)
    assert trainer.proxies.shape == (10, 8)
    before = trainer.proxies.numpy()
    tf.function(trainer.train_step)(batch)
    moved = np.abs(trainer.proxies.numpy() - before).max()
    assert moved == pytest.approx(20 * 1e-3, rel=0.02)


def test_a_class_has_a_proxy_for_each_orientation(batch) -> None:
    """All labels of the batch are among those of the proxies, or the loss would see no positive."""
    given = {"loss": "proxy_anchor", "learning_rate": 1e-3, "turn_classes": True}
    trainer = make(**given, mirror_classes=True)
    assert trainer.proxies.shape == (80, 8)
    before = trainer.proxies.numpy()
    logs = tf.function(trainer.train_step)(batch)
    assert np.abs(trainer.proxies.numpy() - before).max() > 0
    assert float(logs["classes"]) == len(np.unique(batch[1]))
    assert make(**given).proxies.shape == (40, 8)


def test_a_step_learns_from_bent_classes(batch) -> None:
    """The half of a class that is bent is a further class, so there are up to twice as many."""
    logs = {
        most: tf.function(make(loss="supervised_contrastive", bend_classes=most).train_step)(batch)
        for most in (0.0, 0.1)
    }
    classes = len(np.unique(batch[1]))
    assert float(logs[0.0]["classes"]) == classes
    assert classes < float(logs[0.1]["classes"]) <= 2 * classes
    assert float(logs[0.1]["loss"]) != pytest.approx(float(logs[0.0]["loss"]), rel=1e-3)


def test_the_memory_counts_from_its_step_on(batch) -> None:
    """Without a memory the first loss is that of the batch; with weights that stand still, too."""
    frozen = {"loss": "supervised_contrastive", "learning_rate": 1e-30}
    found = {
        begin: [float(trainer.train_step(batch)["loss"]) for _ in range(3)]
        for begin in (0, 2)
        for trainer in [make(**frozen, steps=9, memory=30, memory_from_step=begin)]
    }
    alone = float(make(**frozen).train_step(batch)["loss"])
    # The logged losses are means over the steps so far.
    np.testing.assert_allclose(found[2][:2], [alone, alone], rtol=1e-5)
    np.testing.assert_allclose(found[0][0], alone, rtol=1e-5)
    assert found[0][1] > alone * 1.01
    assert found[2][2] > alone * 1.01


def test_averaged_proxies_are_lent_only(batch) -> None:
    trainer = make(loss="proxy_anchor", ema=0.5)
    train_step = tf.function(trainer.train_step)
    for _ in range(2):  # the first average is the weights themselves
        train_step(batch)
    trained = trainer.proxies.numpy()
    with trainer.averaged_weights():
        assert np.abs(trainer.proxies.numpy() - trained).max() > 0
    np.testing.assert_array_equal(trainer.proxies.numpy(), trained)


def test_proxies_need_classes() -> None:
    embedder = build_embedding_model(ModelSettings(), ImageSettings())
    settings = TrainingSettings(loss="proxy_anchor")
    assert settings.needs_classes
    with pytest.raises(ValueError, match="needs the classes of the training"):
        TripletModel(embedder, settings)
