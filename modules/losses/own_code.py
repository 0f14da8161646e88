"""Losses and miners of one's own, named by an import path such as `mine.losses:MyLoss`.

A loss is a class. It is made with the table `[training.loss_options]` and called in every step:

    class MyLoss:
        def __init__(self, power: float) -> None: ...
        def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor | LossSums: ...

with labels int64 [N], equal ones for equal class names in all batches, and unit embeddings float32
[N, D]. It returns the loss, float32 [], or LossSums, whose mean over active terms is the loss.

A miner is a function from a `Batch` to TripletIndices:

    def my_miner(batch: Batch) -> TripletIndices: ...

Both are traced by `tf.function`: TensorFlow operations only, N is not known. `try_own_code` runs
them once on a small batch, so that a fault is found before a long training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from modules.losses.loss_sums import LossSums
from modules.losses.loss_values import LossValues, values_of
from modules.losses.miners import MINERS, Miner, TripletIndices, make_batch
from modules.losses.pairs import make_pairs, mean_distances
from modules.settings import LossSettings, is_own, load_own

# Two rows in each of three classes, labels as large as fingerprints, no two rows alike.
_LABELS = [2**60, 2**60, 2**60 + 1, 2**60 + 1, 2**60 + 2, 2**60 + 2]
_ROWS = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8], [-1.0, 0.0], [0.6, -0.8]]


def find_miner(name: str) -> Miner:
    """A miner by the name in `MINERS`, or by its import path."""
    if not is_own(name):
        return MINERS[name]
    own = load_own(name)
    return lambda batch, dimension, seed: _checked_triplets(name, own(batch))


def make_own_loss(path: str, options: dict[str, Any]) -> Callable[..., LossValues]:
    """A loss of one's own, called with (labels [N], embeddings [N, D]).

    `active` is that of its LossSums, or whether its number is above 0; `d_ap` and `d_an` of a
    number are those of the pairs of the batch.

    Raises:
        ValueError: What it returns is neither; or it is a Keras loss, see the message.
    """
    own = load_own(path)(**options)
    if isinstance(own, keras.losses.Loss) and type(own).__call__ is keras.losses.Loss.__call__:
        raise ValueError(
            f"{path}: a keras.losses.Loss gets its labels as float32, in which different classes "
            "coincide; write a class with __call__(labels, embeddings)"
        )

    def loss(labels: tf.Tensor, embeddings: tf.Tensor) -> LossValues:
        embeddings = tf.cast(embeddings, tf.float32)
        result = own(labels, embeddings)
        if isinstance(result, LossSums):
            return values_of(result)
        if not tf.is_tensor(result) or result.shape.rank != 0 or not result.dtype.is_floating:
            raise ValueError(
                f"{path} must return one number (a float tensor of shape []) or LossSums, not "
                f"{result!r}"
            )
        value = tf.cast(result, tf.float32)
        active = tf.cast(value > 0, tf.float32)
        return LossValues(value, active, *mean_distances(make_pairs(labels, embeddings)))

    return loss


def try_own_code(settings: LossSettings) -> None:
    """Runs the loss or the miner of one's own once, on six rows of three classes.

    Raises:
        ValueError: It fails, returns something else than it should, or the loss has no gradient;
            the message names it.
    """
    for key, name in (("loss", settings.loss), ("mining", settings.mining)):
        if name is None or not is_own(name):
            continue
        try:
            _try_loss(settings) if key == "loss" else _try_miner(name)
        except Exception as error:
            text = (
                str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            )
            raise ValueError(
                f"training.{key} = '{name}' fails on a batch of six rows: {text}"
            ) from error


def _try_loss(settings: LossSettings) -> None:
    loss, rows = make_own_loss(settings.loss, settings.loss_options), tf.constant(_ROWS)

    # Compiled, for rows of any number, as in training.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2])])
    def step(labels: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows).loss
        gradient = tape.gradient(value, rows)
        if gradient is None:
            raise ValueError("the result has no gradient to the embeddings")
        return value, tf.convert_to_tensor(gradient)

    for values in step(tf.constant(_LABELS, tf.int64), rows):
        if not bool(tf.reduce_all(tf.math.is_finite(values))):
            raise ValueError("the loss or its gradient is not finite")


def _try_miner(name: str) -> None:
    miner, labels, rows = find_miner(name), tf.constant(_LABELS, tf.int64), tf.constant(_ROWS)
    squared = 2.0 - 2.0 * tf.matmul(rows, rows, transpose_b=True)

    @tf.function(input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int64)])
    def mine(squared: tf.Tensor, labels: tf.Tensor) -> TripletIndices:
        return miner(make_batch(squared, labels), 2, None)

    triplets = mine(squared, labels)
    for anchor, positive, negative in zip(*(rows.numpy() for rows in triplets), strict=True):
        if max(anchor, positive, negative) >= 6 or min(anchor, positive, negative) < 0:
            raise ValueError(f"({anchor}, {positive}, {negative}) names rows that are not there")
        if _LABELS[anchor] != _LABELS[positive] or _LABELS[anchor] == _LABELS[negative]:
            raise ValueError(f"({anchor}, {positive}, {negative}) is no triplet of these labels")


def _checked_triplets(name: str, found: Any) -> TripletIndices:
    """What an own miner returned, as TripletIndices.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(found, TripletIndices):
        raise ValueError(f"{name} must return TripletIndices, not {type(found).__name__}")
    for rows in found:
        if not tf.is_tensor(rows) or not rows.dtype.is_integer or rows.shape.rank not in (1, None):
            raise ValueError(f"{name} must return three integer tensors [T], not {rows!r}")
    return TripletIndices(*(tf.stop_gradient(tf.cast(rows, tf.int32)) for rows in found))
