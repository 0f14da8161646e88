"""A user's losses and miners, from real files on Python's path."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from modules.losses.loss_values import LossValues
from modules.losses.memory import Rows
from modules.losses.objective import make_objective
from modules.losses.own_code import try_own_code
from modules.losses.triplet_loss import TripletLoss
from modules.settings import LossSettings
from tests.triplet_oracle import unit_digits

SOURCE = '''
import keras
import tensorflow as tf
from modules.losses import Batch, LossSums, TripletIndices, TripletLoss

SETTING = 3

class Pull:
    """Pulls positives together; a number."""
    def __init__(self, weight: float, power: int = 1) -> None:
        self.weight, self.power = weight, power
    def __call__(self, labels, embeddings):
        same = tf.cast(labels[:, None] == labels[None, :], tf.float32)
        squared = 2.0 - 2.0 * embeddings @ tf.transpose(embeddings)
        return self.weight * tf.reduce_mean(same * squared ** self.power)

class Sums:
    """Semi-hard triplets, as LossSums."""
    def __call__(self, labels, embeddings) -> LossSums:
        return TripletLoss(0.3).sums(labels, embeddings)

class OfKeras(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf.reduce_sum(y_pred)

class NoGradient:
    def __call__(self, labels, embeddings):
        return tf.constant(1.0)

class Rows:
    def __call__(self, labels, embeddings):
        return tf.reduce_sum(embeddings, axis=1)

class OneArgument:
    def __call__(self, labels):
        return 0.0

class Infinite:
    def __call__(self, labels, embeddings):
        return tf.reduce_sum(embeddings) / 0.0

def hardest(batch: Batch) -> TripletIndices:
    """Each row with every positive and its nearest negative."""
    pairs = tf.cast(tf.where(batch.positives), tf.int32)
    nearest = tf.argmin(tf.where(batch.same, 9.0, batch.squared), axis=1, output_type=tf.int32)
    return TripletIndices(pairs[:, 0], pairs[:, 1], tf.gather(nearest, pairs[:, 0]))

def tuples(batch):
    return tuple(hardest(batch))

def wrong(batch):
    found = hardest(batch)
    return TripletIndices(found.anchor, found.negative, found.positive)

def two(batch, more):
    return hardest(batch)
'''


@pytest.fixture(autouse=True)
def own_module(tmp_path, monkeypatch) -> Path:
    """The package `mine` with `mine.code`, and a module that cannot be imported."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "code.py").write_text(SOURCE)
    (package / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def values(settings: LossSettings) -> LossValues:
    x, labels = unit_digits()
    rows = Rows(tf.constant(labels, tf.int64), tf.constant(x))
    return make_objective(settings)(rows, None, tf.constant([0, 0]))


def test_a_loss_that_returns_a_number() -> None:
    settings = LossSettings(loss="mine.code:Pull", loss_options={"weight": 2.0})
    try_own_code(settings)
    assert settings.own_modules == ("mine.code",)
    assert (settings.mining, settings.margin, settings.unseparated_loss) == (None, None, None)
    found, reference = values(settings), values(LossSettings(loss="supervised_contrastive"))
    x, labels = (array.astype("d") for array in unit_digits())
    same = labels[:, None] == labels[None, :]
    expected = 2 * np.mean(same * ((x[:, None] - x[None, :]) ** 2).sum(axis=2))
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)
    assert [float(v) for v in found[1:]] == [1, *map(float, reference[2:])]
    squared = LossSettings(loss="mine.code:Pull", loss_options={"weight": 2.0, "power": 2})
    assert float(values(squared).loss) != float(found.loss)


def test_a_loss_that_returns_sums_and_a_miner() -> None:
    sums = LossSettings(loss="mine.code:Sums")
    try_own_code(sums)
    assert [*map(float, values(sums))] == [*map(float, values(LossSettings(margin=0.3)))]
    mined = LossSettings(mining="mine.code:hardest", margin=1.0)
    try_own_code(mined)
    assert mined.own_modules == ("mine.code",)
    x, labels = unit_digits()
    found = TripletLoss(1.0, "mine.code:hardest").sums(tf.constant(labels), tf.constant(x))
    assert float(found.count) == 50 * 4  # 5 digits of each class
    assert float(values(mined).loss) == pytest.approx(float(found.loss / found.active))


def test_an_own_miner_mines_in_the_memory() -> None:
    settings = LossSettings(mining="mine.code:hardest", memory=20)
    x, labels = unit_digits()
    rows = Rows(tf.constant(labels[:20], tf.int64), tf.constant(x[:20]))
    memory = Rows(tf.constant(labels[20:], tf.int64), tf.constant(x[20:]))
    objective = make_objective(settings)
    with_it, without = (objective(rows, each, tf.constant([0, 0])) for each in (memory, None))
    assert float(with_it.d_an) < float(without.d_an)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "his.code:Pull"}, "loss\n.*there is no module 'his'.*PYTHONPATH"),
        ({"loss": "mine.other:Pull"}, "there is no module 'mine.other'"),
        ({"loss": "mine.code:Push"}, "module mine.code has no Push, only .*Pull"),
        ({"loss": "mine.code:SETTING"}, "mine.code:SETTING is no class or function but int"),
        ({"loss": "mine.code:Pull.weight"}, "written 'package.module:Name'"),
        ({"mining": "mine.broken:x"}, "mining\n.*importing mine.broken failed.*ZeroDivisionError"),
        ({"loss": "triplet"}, "Input should be 'margin', .* or 'package.module:Name' of your own"),
        ({"loss": "mine.code:hardest"}, "must be a class that is made with loss_options"),
        ({"loss": "mine.code:Pull"}, "loss_options do not fit: .*missing a required argument"),
        (
            {"loss": "mine.code:Pull", "loss_options": {"weight": 1.0, "size": 2}},
            r"mine.code:Pull takes \(weight.*unexpected keyword argument 'size'",
        ),
        ({"mining": "mine.code:two"}, r"mine.code:two takes \(batch, more\)"),
        ({"loss_options": {"weight": 1}}, "loss_options has no effect with loss = 'margin'"),
        ({"loss": "mine.code:Sums", "mining": "hard"}, "mining has no effect with loss = 'mine"),
        ({"loss": "mine.code:Sums", "memory": 9}, "memory has no effect with loss = 'mine"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_settings(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        LossSettings(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "mine.code:OfKeras"}, "gets its labels as float32"),
        ({"loss": "mine.code:NoGradient"}, "has no gradient"),
        ({"loss": "mine.code:Rows"}, r"must return one number .* or LossSums"),
        ({"loss": "mine.code:OneArgument"}, "TypeError.* takes 2 positional arguments"),
        ({"loss": "mine.code:Infinite"}, "not finite"),
        ({"mining": "mine.code:tuples"}, "must return TripletIndices, not tuple"),
        ({"mining": "mine.code:wrong"}, "is no triplet of these labels"),
    ],
)
def test_what_runs_wrongly_is_found_on_six_rows(given: dict, message: str) -> None:
    [key] = given
    where = f"training.{key} = '{given[key]}' fails on a batch of six rows"
    with pytest.raises(ValueError, match=f"(?s){where}.*{message}"):
        try_own_code(LossSettings(**given))
