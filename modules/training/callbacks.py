"""What happens between two stretches of training: validation and the best weights."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.batches import LabelledImages, TransformImages
from modules.models import compile_embedding, embed_in_batches
from modules.retrieval import make_gallery, score_against, score_queries

_HISTOGRAM_IMAGES = 500
_SCORES = ("precision@1", "map@r", "d_ap", "d_an")


class RetrievalValidation(keras.callbacks.Callback):
    """Measures retrieval among the validation images with the code of the Evaluator.

    Adds `val_precision@1`, `val_map@r`, `val_d_ap`, `val_d_an` (means over the queries) and
    `val_spread` (of all embeddings) to the logs, for the callbacks behind it. TensorBoard gets the
    distances between images of one class and of different classes as histograms. Averaged weights
    are used if there are any, without augmentation.

    Args:
        data: The queries, and a part of the gallery; each query is left out of its own gallery.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        log_dir: Where the histograms go.
        distractors: The rest of the gallery, such as images of the classes that are trained on:
            among them new classes have to be told apart from the known ones too.

    Raises:
        ValueError: No query has an image of its class in the gallery, so there is nothing to find.
    """

    def __init__(
        self,
        data: LabelledImages,
        transform_images: TransformImages,
        log_dir: str,
        distractors: LabelledImages | None = None,
    ) -> None:
        super().__init__()
        if len(set(data.labels)) == len(data.labels) and (
            distractors is None or set(data.labels).isdisjoint(distractors.labels)
        ):
            raise ValueError(
                f"The {len(data.labels)} images for validation are of as many classes, so no query "
                "has anything to find. Raise triplets.validation_images, or put at least two "
                "images of a class into the validation part."
            )
        self._data = data
        self._distractors = distractors
        self._transform_images = transform_images
        self._log_dir = log_dir

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Compiles the embedding of a batch, and traces it: no validation is slower than others."""
        self._embed = compile_embedding(self.model.embedder, self._transform_images)
        embed_in_batches(self._embed, self._data.images[:1])
        self._writer = tf.summary.create_file_writer(self._log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Embeds all images and scores them."""
        data, distractors = self._data, self._distractors
        with self.model.averaged_weights():
            embeddings = found = embed_in_batches(self._embed, data.images)
            if distractors is not None:
                others = embed_in_batches(self._embed, distractors.images)
                found = np.concatenate([embeddings, others])
        queries = make_gallery(data.ids, data.labels, embeddings)
        if distractors is None:
            scores = score_queries(queries, [1])
        else:
            ids, labels = (
                np.concatenate(pair)
                for pair in ((data.ids, distractors.ids), (data.labels, distractors.labels))
            )
            scores = score_against(queries, make_gallery(ids, labels, found), [1])
        if logs is not None:
            scored = scores["excluded_queries"] == 0
            logs |= {f"val_{name}": float(scores[name][scored].mean()) for name in _SCORES}
            logs["val_spread"] = float(np.var(found, axis=0).sum())
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

    Of equal scores, which are common among few images, the later weights are kept: they learnt
    more. For the patience that is no improvement.

    Args:
        patience: Validations without a better one after which training stops.
    """

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience
        self._best = -math.inf
        self._since = 0
        self._logs = dict.fromkeys(("val_map@r", "val_precision@1", "step"), math.nan)
        self._weights: list[np.ndarray] = []

    @property
    def finished(self) -> bool:
        """Whether the patience is over."""
        return self._since >= self._patience

    @property
    def scores(self) -> dict[str, float]:
        """`val_map@r` and `val_precision@1` of the best weights, and the `step` they are from."""
        return self._logs | {"step": int(self._logs["step"])}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares this validation with the best one."""
        logs = logs or {}
        score = logs["val_map@r"]
        self._since = 0 if score > self._best else self._since + 1
        if score >= self._best:
            self._best = score
            step = {"step": int(self.model.steps_done.numpy())}
            self._logs = {name: float((logs | step)[name]) for name in self._logs}
            with self.model.averaged_weights():
                self._weights = self.model.embedder.get_weights()
        if self.finished:
            self.model.stop_training = True

    def give_to(self, embedder: keras.Model) -> None:
        """Sets the weights of a network, of any precision, to the best ones."""
        embedder.set_weights(self._weights)

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        weights = {f"weight_{i}": weight for i, weight in enumerate(self._weights)}
        logs = {f"log_{name}": np.array(value) for name, value in self._logs.items()}
        return {"best": np.array(self._best), "since": np.array(self._since)} | logs | weights

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self._best, self._since = float(state["best"]), int(state["since"])
        self._logs = {name: float(state[f"log_{name}"]) for name in self._logs}
        count = sum(name.startswith("weight_") for name in state)
        self._weights = [state[f"weight_{i}"] for i in range(count)]
