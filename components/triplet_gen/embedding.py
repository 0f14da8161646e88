"""Embeddings of encoded images by a model of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from apache_beam.utils import shared

from components.triplet_gen.rows import Rows
from components.triplet_gen.statistics import OutputStats, explain
from modules.models import embed_in_batches

SIGNATURE = "images"


class Embedder:
    """A SavedModel with the signature `images`, as the Trainer of this project exports it."""

    def __init__(self, path: str) -> None:
        """Loads the model.

        Args:
            path: Folder of the SavedModel.

        Raises:
            OSError: If there is none.
            ValueError: If it lacks the signature.
        """
        self._path = path
        self._model = tf.saved_model.load(path)  # owns the variables of the signature
        signatures = sorted(self._model.signatures)
        if SIGNATURE not in signatures:
            raise ValueError(
                f"TripletGen: the model {path} has the signatures {', '.join(signatures)}, but "
                f"mining needs {SIGNATURE!r} (encoded images to `embedding`). Export it with the "
                "trainer of this project, or choose strategy, positives and buckets that need none."
            )
        self._embed = self._model.signatures[SIGNATURE]

    def __call__(self, images: Sequence[bytes]) -> np.ndarray:
        """Embeds images in batches of 256, always cut at the same places.

        Args:
            images: Encoded images, at least one.

        Returns:
            float32 `[images, D]`, as the model gives them: of norm 1, if they are finite.

        Raises:
            ValueError: If the model fails on some image; the message has its number and the reason.
        """
        done = 0

        def embed(batch: tf.Tensor) -> tf.Tensor:
            nonlocal done
            try:
                embeddings = self._embed_batch(batch)
            except tf.errors.InvalidArgumentError as error:
                raise self._explain(batch, done, error) from error
            done += len(batch)
            return embeddings

        return embed_in_batches(embed, images)

    def _embed_batch(self, images: tf.Tensor) -> tf.Tensor:
        return self._embed(images=images)["embedding"]

    def _explain(
        self, batch: tf.Tensor, first: int, error: tf.errors.OpError
    ) -> UnreadableImageError:
        """Finds the image that the model cannot embed, number `first` or later."""
        for row in range(len(batch)):
            try:
                self._embed_batch(batch[row : row + 1])
            except tf.errors.InvalidArgumentError as own:
                return UnreadableImageError(first + row, self._path, explain(own))
        return UnreadableImageError(first, self._path, explain(error))


class UnreadableImageError(ValueError):
    """A model cannot embed an image.

    Attributes:
        number: Place of the image among those given.
        reason: What the model says.
    """

    def __init__(self, number: int, path: str, reason: str) -> None:
        super().__init__(f"the model {path} cannot embed image {number}: {reason}")
        self.number = number
        self.reason = reason


class SharedEmbedder:
    """An embedder that the steps of a pipeline share: a process loads the model once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = shared.Shared()

    def acquire(self) -> Embedder:
        """Loads the model, or finds it loaded."""
        return self._handle.acquire(lambda: Embedder(self._path))


def embed_rows(embedder: Embedder, rows: Rows, result: OutputStats) -> np.ndarray:
    """Embeds rows, and notes in `result` what cannot be used.

    Args:
        embedder: The model.
        rows: At least one.
        result: Its `unusable` stays 0 if all embeddings are good.

    Returns:
        float32 `[rows, D]`; of no use if some are not good.
    """
    try:
        embeddings = embedder(rows.images.tolist())
    except UnreadableImageError as error:
        result.unusable = 1
        result.unusable_example = f"{_show(rows.ids[error.number])}: {error.reason}"
        return np.zeros((len(rows.ids), 0), np.float32)
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        result.unusable = len(broken)
        result.unusable_example = f"{_show(rows.ids[broken[0]])}: not finite"
    return embeddings


def _show(example_id: bytes) -> str:
    return repr(example_id.decode(errors="replace"))
