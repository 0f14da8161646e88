"""Embeddings of encoded images by a model that was exported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modules.models.embedding import EMBED_BATCH, embed_in_batches
from modules.runtime import explain

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
                f"the model {path} has the signatures {', '.join(signatures)}, but {SIGNATURE!r} "
                "is needed (encoded images to `embedding`). Export it with the trainer of this "
                "project."
            )
        self._embed = self._model.signatures[SIGNATURE]

    def __call__(
        self, images: Sequence[bytes], *, batch_size: int = EMBED_BATCH, filled: bool = False
    ) -> np.ndarray:
        """Embeds images in batches, see `embed_in_batches`.

        Args:
            images: Encoded images, at least one.
            batch_size: Images in a batch.
            filled: Whether the last batch is filled up.

        Returns:
            float32 `[images, D]`, as the model gives them: of norm 1, if they are finite.

        Raises:
            UnreadableImageError: If the model fails on some image.
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

        return embed_in_batches(embed, images, batch_size=batch_size, filled=filled)

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
