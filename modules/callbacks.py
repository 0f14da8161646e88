"""What happens between two stretches of training: validation, the guard, a line for the user."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from modules.input_data import LabelledImages
from modules.retrieval import make_gallery, score_queries

# Variance of the embeddings (at most 1) under which all images practically share one point.
COLLAPSED_SPREAD = 5e-4
_EMBED_BATCH = 256


class TrainingFailedError(RuntimeError):
    """Training produced no usable model; the message says why and what to change."""


class FailureGuard(keras.callbacks.Callback):
    """Stops training that cannot lead to a model: NaN, or an embedding collapsed to one point."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the means of the steps since the last validation.

        Raises:
            TrainingFailedError: The loss is not finite, or the spread is below `COLLAPSED_SPREAD`.
        """
        logs = logs or {}
        if not math.isfinite(logs["loss"]):
            raise TrainingFailedError(
                f"The loss is {logs['loss']} at validation {epoch + 1}. "
                "Lower training.learning_rate; no model was written."
            )
        if logs["spread"] < COLLAPSED_SPREAD:
            raise TrainingFailedError(
                f"The embedding has collapsed to one point (spread {logs['spread']:.1e}, loss "
                f"{logs['loss']:.3f}). Lower training.learning_rate, or use training.mining = "
                "'semi_hard' or 'all'; no model was written."
            )


class RetrievalValidation(keras.callbacks.Callback):
    """Measures retrieval among the images of the eval split by the Evaluator's own code.

    Adds `val_precision@1` and `val_map@r` to the logs, for the callbacks behind it.

    Args:
        data: Queries and gallery at once; each query is left out of its own gallery.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
    """

    def __init__(
        self, data: LabelledImages, transform_images: Callable[[tf.Tensor], tf.Tensor]
    ) -> None:
        super().__init__()
        self._data = data
        self._transform_images = transform_images

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Compiles the embedding of a batch."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def embed(images: tf.Tensor) -> tf.Tensor:
            return self.model.embedder(self._transform_images(images), training=False)

        self._embed = embed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Embeds all images and scores them."""
        images = self._data.images
        embeddings = np.concatenate(
            [self._embed(images[i : i + _EMBED_BATCH]) for i in range(0, len(images), _EMBED_BATCH)]
        )
        scores = score_queries(make_gallery(self._data.ids, self._data.labels, embeddings), [1])
        if logs is not None:
            for name in ("precision@1", "map@r"):
                logs[f"val_{name}"] = float(np.nanmean(scores[name]))


class TrainingProgress(keras.callbacks.Callback):
    """A progress bar on a terminal, and one line per validation everywhere.

    A context manager, so that the bar is gone before an error is shown.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._done = 0

    def __enter__(self) -> TrainingProgress:
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            transient=True,
            disable=not sys.stdout.isatty(),
        )
        self._task = self._bar.add_task("", total=self._steps)
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        text = " ".join(f"{k} {(logs or {})[k]:.3f}" for k in ("loss", "active", "d_ap", "d_an"))
        self._done += 1
        self._bar.update(self._task, completed=self._done, description=text)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the validation."""
        logs = logs or {}
        self._bar.console.print(
            f"step {self._done:5}/{self._steps}  loss {logs['loss']:.4f}  "
            f"active {logs['active']:.3f}  d_ap {logs['d_ap']:.3f}  d_an {logs['d_an']:.3f}  "
            f"eval P@1 {logs['val_precision@1']:.4f}  MAP@R {logs['val_map@r']:.4f}  "
            f"{time.monotonic() - self._started:.0f} s",
            highlight=False,
            soft_wrap=True,
        )
