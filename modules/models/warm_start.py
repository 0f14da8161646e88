"""Training that starts from an earlier model instead of random weights."""

from __future__ import annotations

import os

import keras
import tensorflow as tf


class WarmStartError(ValueError):
    """The earlier model does not fit; the message says what differs."""


def load_weights(embedder: keras.Model, saved_model: str) -> None:
    """Gives a network the weights of a SavedModel that `modules.export.saved_model` wrote.

    Args:
        embedder: Built with the same `[model]` and `[image]` settings; any precision.
        saved_model: Its folder.

    Raises:
        WarmStartError: There is no such model, or it is another network.
    """
    path = os.path.join(saved_model, "variables", "variables")  # noqa: PTH118
    advice = (
        "Training cannot start from it. Set the [model] and [image] tables to those that it was "
        "trained with, or train without an earlier model."
    )
    try:
        stored = tf.train.list_variables(path)
        status = tf.train.Checkpoint(embedder=embedder).read(path)
        status.assert_existing_objects_matched()
    except (tf.errors.NotFoundError, tf.errors.DataLossError) as error:
        raise WarmStartError(f"{saved_model} holds no weights. {advice}") from error
    except (AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WarmStartError(
            f"The model in {saved_model} is another network than {embedder.name}: {reason}. "
            f"{advice}"
        ) from error
    count = sum(name.startswith("embedder/") for name, _ in stored)
    if count != len(embedder.weights):
        raise WarmStartError(
            f"The model in {saved_model} has {count} weights, {embedder.name} has "
            f"{len(embedder.weights)}. {advice}"
        )
