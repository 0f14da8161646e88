"""What happens between two stretches of training: validation, the guard, the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.batches import LabelledImages
from modules.models import compile_embedding, embed_in_batches
from modules.retrieval import COLLAPSED_SPREAD, make_gallery, score_queries
from modules.settings import TrainingSettings

# How near, as a fraction of it, a loss is to its value without any separation to count as stuck.
STUCK_TOLERANCE = 0.1
_HISTOGRAM_IMAGES = 500
_ADVICE = (
    "Lower training.learning_rate, let it rise slowly (training.rate_warmup_steps), or use "
    "training.mining = 'semi_hard' or 'all' (with 'hard', more training.warmup_steps); no model "
    "was written."
)


class TrainingFailedError(RuntimeError):
    """Training produced no usable model; the message says why and what to change."""


class FailureGuard(keras.callbacks.Callback):
    """Stops training that cannot lead to a model.

    That is: a loss that is not finite; an embedding collapsed to one point; or a loss that stays
    where it is when positives are as far away as negatives (the margin, or log 2 for
    `soft_margin`), which is how hard mining gets stuck.

    Args:
        settings: The loss, and `guard_window`, the number of validations in a row with a stuck loss
            that end training.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        super().__init__()
        self._window = settings.guard_window
        self._stuck_at = math.log(2) if settings.margin is None else settings.margin
        self._stuck = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the means of the steps since the last validation.

        Raises:
            TrainingFailedError: See above; the message says what to change.
        """
        logs = logs or {}
        if not math.isfinite(logs["loss"]):
            raise TrainingFailedError(
                f"The loss is {logs['loss']} at validation {epoch + 1}. Lower "
                "training.learning_rate, or set training.clip_norm = 1.0; no model was written."
            )
        if logs["spread"] < COLLAPSED_SPREAD:
            raise TrainingFailedError(
                f"The embedding has collapsed to one point (spread {logs['spread']:.1e}, loss "
                f"{logs['loss']:.3f}). {_ADVICE}"
            )
        tolerance = STUCK_TOLERANCE * self._stuck_at
        stuck = (
            abs(logs["loss"] - self._stuck_at) <= tolerance
            and abs(logs["d_an"] - logs["d_ap"]) <= tolerance
        )
        self._stuck = self._stuck + 1 if stuck else 0
        if self._stuck >= self._window:
            raise TrainingFailedError(
                f"The loss has been stuck for {self._stuck} validations at {logs['loss']:.3f}, "
                "its value when positives are as far away as negatives (d_ap "
                f"{logs['d_ap']:.3f}, d_an {logs['d_an']:.3f}). {_ADVICE}"
            )

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        return {"stuck": np.array(self._stuck)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self._stuck = int(state["stuck"])


class RetrievalValidation(keras.callbacks.Callback):
    """Measures retrieval among the images of the eval split with the code of the Evaluator.

    Adds `val_precision@1` and `val_map@r` to the logs, for the callbacks behind it. TensorBoard
    gets the distances between images of one class and of different classes as histograms. Averaged
    weights are used if there are any, without augmentation.

    Args:
        data: Queries and gallery at once; each query is left out of its own gallery.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        log_dir: Where the histograms go.

    Raises:
        ValueError: No two images have a class in common, so there is nothing to find.
    """

    def __init__(
        self,
        data: LabelledImages,
        transform_images: Callable[[tf.Tensor], tf.Tensor],
        log_dir: str,
    ) -> None:
        super().__init__()
        if len(set(data.labels)) == len(data.labels):
            raise ValueError(
                f"The {len(data.labels)} images for validation are of as many classes, so no query "
                "has anything to find. Raise training.validation_images, or put at least two "
                "images of a class into the eval split."
            )
        self._data = data
        self._transform_images = transform_images
        self._log_dir = log_dir

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Compiles the embedding of a batch."""
        self._embed = compile_embedding(self.model.embedder, self._transform_images)
        self._writer = tf.summary.create_file_writer(self._log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Embeds all images and scores them."""
        with self.model.averaged_weights():
            embeddings = embed_in_batches(self._embed, self._data.images)
        scores = score_queries(make_gallery(self._data.ids, self._data.labels, embeddings), [1])
        if logs is not None:
            for name in ("precision@1", "map@r"):
                logs[f"val_{name}"] = float(np.nanmean(scores[name]))
        self._write_histograms(embeddings[:_HISTOGRAM_IMAGES], epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes what is left."""
        self._writer.close()

    def _write_histograms(self, embeddings: np.ndarray, step: int) -> None:
        labels = self._data.labels[: len(embeddings)]
        pairs = np.triu_indices(len(embeddings), 1)
        distances = (2 - 2 * embeddings @ embeddings.T)[pairs]
        same = (labels[:, None] == labels[None, :])[pairs]
        with self._writer.as_default(step):
            tf.summary.histogram("squared_distance/same_class", distances[same])
            tf.summary.histogram("squared_distance/different_class", distances[~same])


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights with the best `val_map@r` and stops when it no longer rises.

    Args:
        patience: Validations without a better one after which training stops.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience
        self._best = -math.inf
        self._since = 0
        self._weights: list[np.ndarray] = []

    @property
    def finished(self) -> bool:
        """Whether the patience is over."""
        return self._since >= self._patience

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares this validation with the best one."""
        score = (logs or {})["val_map@r"]
        if score > self._best:
            self._best, self._since = score, 0
            with self.model.averaged_weights():
                self._weights = self.model.embedder.get_weights()
        else:
            self._since += 1
        if self.finished:
            self.model.stop_training = True

    def give_to(self, embedder: keras.Model) -> None:
        """Sets the weights of a network, of any precision, to the best ones."""
        embedder.set_weights(self._weights)

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        weights = {f"weight_{i}": weight for i, weight in enumerate(self._weights)}
        return {"best": np.array(self._best), "since": np.array(self._since)} | weights

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self._best, self._since = float(state["best"]), int(state["since"])
        self._weights = [state[f"weight_{i}"] for i in range(len(state) - 2)]
