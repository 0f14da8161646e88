"""The distinct images of triplets; an image occurs in several of them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from modules.contract import ID, IMAGE, LABEL, ROLES
from modules.storage import read_examples


class DistinctImages:
    """Images by id, in the order in which they were found: `encoded` and `labels`.

    `size` is the number of their encoded bytes.
    """

    def __init__(self) -> None:
        self.encoded: list[bytes] = []
        self.labels: list[bytes] = []
        self.size = 0
        self._numbers: dict[bytes, int] = {}

    def read(self, path: str) -> np.ndarray:
        """Adds the images of a file that are not known yet.

        Args:
            path: An uncompressed TFRecord file with triplets of the contract.

        Returns:
            The numbers of anchors, positives and negatives of its triplets, int32 [T, 3].
        """
        features = [f"{role}/{name}" for role in ROLES for name in (IMAGE, LABEL, ID)]
        parts = [np.empty([0, len(ROLES)], np.int32)]
        for batch in read_examples(path, features, compression=""):
            parts.append(np.stack([self._add(batch, role) for role in ROLES], axis=1))
        return np.concatenate(parts)

    def _add(self, batch: dict[str, tf.Tensor], role: str) -> np.ndarray:
        ids = batch[f"{role}/{ID}"].numpy()
        # Most ids have been seen: only the images of new ones are copied out of TensorFlow.
        new = [row for row, name in enumerate(ids) if name not in self._numbers]
        images, labels = (
            tf.gather(batch[f"{role}/{name}"], tf.constant(new, tf.int32)).numpy()
            for name in (IMAGE, LABEL)
        )
        for row, image, label in zip(new, images, labels, strict=True):
            if ids[row] not in self._numbers:
                self._numbers[ids[row]] = len(self.encoded)
                self.encoded.append(image)
                self.labels.append(label)
                self.size += len(image)
        return np.array([self._numbers[name] for name in ids], np.int32)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The encoded images, object [N] of bytes, and their class numbers, int32 [N]."""
        _, codes = np.unique(np.array(self.labels, object), return_inverse=True)
        images = np.empty(len(self.encoded), object)  # bytes of numpy lose trailing zeros
        images[:] = self.encoded
        return images, codes.astype(np.int32)
