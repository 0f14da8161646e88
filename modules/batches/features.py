"""What a network that does not learn makes of every image, computed once.

Where only the head learns, the backbone gives the same features of an image in every pass, and
takes nearly all of the time. So they are computed before the first step. They belong to one
training and go with it: its weights and its preprocessing do not change, so no feature is ever
stale, and the bytes of an image are enough to find its own. The embeddings of an earlier model are
kept likewise.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from modules.batches.reading import fingerprint, triplet_files
from modules.contract import IMAGE
from modules.storage import read_examples

_AT_ONCE = 256  # images


class FeatureCache:
    """Features of all images of a training, in memory if they fit, else in a file.

    Args:
        file_patterns: Globs of TripletGen's files.
        others: More images, encoded, object [N] of bytes.
        extract: Encoded images, string [N], to features, float32 [N, F].
        folder: On this machine; an empty one, for the file. It has to stay while this is used.
        limit: Bytes that the features may take in memory.

    Raises:
        ValueError: No file matches.
    """

    def __init__(
        self,
        file_patterns: Sequence[str],
        others: np.ndarray,
        extract: Callable[[tf.Tensor], tf.Tensor],
        folder: str,
        limit: int,
    ) -> None:
        path = os.path.join(folder, "features.float32")  # noqa: PTH118
        keys: list[int] = []
        self.size = 0
        with open(path, "wb") as file:  # noqa: PTH123
            for found, images in _new_images(triplet_files(file_patterns), others):
                features = np.asarray(extract(tf.constant(images, tf.string)), np.float32)
                self.size = features.shape[1]
                features.tofile(file)
                keys += found
        self.count = len(keys)
        shape = (self.count, self.size)
        order = np.argsort(keys)
        self.in_memory = self.count * self.size * 4 <= limit
        with tf.device("CPU:0"):  # where the input looks them up
            self._keys = tf.constant(np.array(keys, np.int64)[order])
            self._rows = tf.constant(order.astype(np.int64))
            if self.in_memory:
                self._features = tf.constant(np.fromfile(path, np.float32).reshape(shape))
        if self.in_memory:
            os.remove(path)  # noqa: PTH107
        else:
            self._file = np.memmap(path, np.float32, "r", shape=shape)

    def look_up(self, images: tf.Tensor) -> tf.Tensor:
        """Encoded images, string [N], to their features, float32 [N, F].

        Raises:
            InvalidArgumentError: An image was in none of the files.
        """
        return self.of_keys(fingerprint(images))

    def of_keys(self, wanted: tf.Tensor) -> tf.Tensor:
        """The same by the fingerprints of the images, int64 [N].

        Raises:
            InvalidArgumentError: An image was in none of the files.
        """
        places = tf.minimum(tf.searchsorted(self._keys, wanted), self.count - 1)
        known = tf.debugging.assert_equal(
            tf.gather(self._keys, places), wanted, "An image has no features: it is new."
        )
        with tf.control_dependencies([] if known is None else [known]):
            rows = tf.gather(self._rows, places)
        if self.in_memory:
            return tf.gather(self._features, rows)
        features = tf.numpy_function(lambda chosen: self._file[chosen], [rows], tf.float32)
        return tf.ensure_shape(features, [None, self.size])


def _new_images(files: list[str], others: np.ndarray) -> Iterator[tuple[list[int], list[bytes]]]:
    """Fingerprints and bytes of the images, each once, in parts of at most 256."""
    seen: set[int] = set()
    of_files = (
        batch[IMAGE]
        for path in files
        for batch in read_examples(path, (IMAGE,), compression="", batch_size=_AT_ONCE)
    )
    starts = range(0, len(others), _AT_ONCE)
    parts = (tf.constant(others[start : start + _AT_ONCE], tf.string) for start in starts)
    for images in itertools.chain(of_files, parts):
        found = dict(zip(fingerprint(images).numpy().tolist(), images.numpy(), strict=True))
        new = {key: image for key, image in found.items() if key not in seen}
        seen |= new.keys()
        if new:
            yield list(new), list(new.values())
