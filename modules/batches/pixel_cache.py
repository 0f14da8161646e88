"""Images decoded once: their pixels in memory, or in a file where memory is too small for them.

The pixels are kept as the transform graph gives them, float32. Bytes would take a quarter of the
space, but only images that were not resampled would survive it: then a training would depend on
whether its pixels were kept, and one that goes on with less room would not be the same.

The file has no name. The system frees it with the process that opened it, however that ends, so
nothing is left to be removed. It is mapped: what is read of it takes memory that the system takes
back when others need it.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from modules.batches.reading import TransformImages
from modules.storage import without_autotune

_DECODED_AT_ONCE = 16 * 2**20  # bytes of pixels, for each core
_MOST_AT_ONCE = 256  # images


class CacheLimits(NamedTuple):
    """How many decoded pixels may be kept, and where.

    Attributes:
        memory: In bytes.
        disk: In bytes; of what the disk has free, no more than half is taken in any case.
        folder: Local, for the file; made if missing. Default: the system's for temporary files.
    """

    memory: int = 0
    disk: int = 0
    folder: str | None = None

    @property
    def most(self) -> int:
        """The most bytes that can be kept."""
        return max(self.memory, self.disk)


NO_CACHE = CacheLimits()


class KeptPixels:
    """Decoded pixels, float32 [N, H, W, C], in the memory of the host.

    Args:
        kept: The pixels, in order.
        shape: N, H, W, C.
    """

    def __init__(self, kept: mmap.mmap, shape: Sequence[int]) -> None:
        # Without a copy: a map begins at a page, as TensorFlow wants it.
        array = np.frombuffer(kept, np.float32).reshape(shape)
        with tf.device("CPU:0"):
            # A tensor would be copied by every iterator of a dataset that uses it.
            self._pixels = tf.Variable(
                tf.experimental.dlpack.from_dlpack(array.__dlpack__()), trainable=False
            )

    def take(self, rows: tf.Tensor) -> tf.Tensor:
        """Some of the images, integer [B] to float32 [B, H, W, C]."""
        # To gather from the variable itself would copy it.
        return tf.gather(self._pixels.read_value(), rows)


def keep_pixels(
    parts: Iterable[np.ndarray],
    shape: Sequence[int],
    transform_images: TransformImages,
    limits: CacheLimits,
) -> KeptPixels | None:
    """Decodes all images, if their pixels may be kept.

    Args:
        parts: Encoded images in order, object [≤ N] of bytes each; N in all.
        shape: N, H, W, C.
        transform_images: Encoded images, string [N], to pixels, float32 [N, H, W, C].
        limits: Memory comes first.

    Returns:
        The pixels; None if they are too many. With a warning if only the disk is too small.
    """
    size = 4 * math.prod(shape)
    if not 0 < size <= limits.most:
        return None
    pixels = _decoded(parts, transform_images, size // shape[0])
    if size <= limits.memory:
        kept = mmap.mmap(-1, size)
        for part in pixels:
            kept.write(part)
    else:
        try:
            kept = _written(pixels, size, limits.folder or tempfile.gettempdir())
        except OSError as error:
            logging.warning(
                "The decoded pixels take %d MB and cannot be kept on disk (%s), so images are "
                "decoded each time. Make room, or set training.disk_cache_megabytes = 0.",
                size // 2**20, error,
            )  # fmt: skip
            return None
    return KeptPixels(kept, shape)


def _decoded(
    parts: Iterable[np.ndarray], transform_images: TransformImages, image_bytes: int
) -> Iterator[memoryview]:
    """The pixels of some images at a time, in order; decoded on all cores."""
    at_once = max(1, min(_MOST_AT_ONCE, _DECODED_AT_ONCE // image_bytes))

    def encoded() -> Iterator[np.ndarray]:
        for images in parts:
            for start in range(0, len(images), at_once):
                yield images[start : start + at_once]

    dataset = tf.data.Dataset.from_generator(
        encoded, output_signature=tf.TensorSpec([None], tf.string)
    ).map(transform_images, num_parallel_calls=os.cpu_count(), deterministic=True)
    for pixels in without_autotune(dataset):
        yield pixels.numpy().data.cast("B")


def _written(pixels: Iterable[memoryview], size: int, folder: str) -> mmap.mmap:
    """Writes pixels to a file without a name, and maps it.

    Raises:
        OSError: There is no room, or the folder cannot be written to.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free // 2:
        raise OSError(f"{folder} has {free // 2**20} MB free, of which half may be taken")
    with tempfile.TemporaryFile(dir=folder) as file:
        # At once, not after an hour: another process may want the same room.
        os.posix_fallocate(file.fileno(), 0, size)
        for part in pixels:
            file.write(part)
        file.flush()
        return mmap.mmap(file.fileno(), size)
