"""TFRecord files of triplets, written at once or not at all."""

from __future__ import annotations

import itertools
import struct
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache

import google_crc32c
import numpy as np
import tensorflow as tf

_RECORDS_PER_WRITE = 256


def write_file(records: Iterable[bytes], path: str, temp_dir: str) -> None:
    """Writes a TFRecord file, uncompressed.

    Nearly all bytes of a triplet are images, which are compressed already: gzip would cost more
    time than all else here and save a few percent.

    The file is written under a temporary name and then renamed. So a bundle that Beam runs twice
    replaces its own file, and a reader never sees half of one.

    Args:
        records: Serialised triplets, at least one.
        path: Where the file is to appear.
        temp_dir: Existing folder on the same file system.

    Raises:
        tf.errors.OpError: If the file cannot be written; the message names it.
    """
    temporary = f"{temp_dir}/{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(temporary, "wb") as file:
        for piece in frame(records):
            file.write(piece)
    tf.io.gfile.rename(temporary, path, overwrite=True)


def frame(records: Iterable[bytes]) -> Iterator[bytes]:
    """Puts records into the frames of the TFRecord format, 256 at a time.

    A record is its length (uint64), the masked CRC-32C of the length, its bytes, and their masked
    CRC-32C (https://www.tensorflow.org/tutorials/load_data/tfrecord). TensorFlow's own writer
    takes a call per record, which costs twice the time of all this.

    Args:
        records: Any bytes.

    Yields:
        Pieces of the file, in order.
    """
    records = iter(records)
    while batch := list(itertools.islice(records, _RECORDS_PER_WRITE)):
        checksums = np.fromiter(map(google_crc32c.value, batch), np.uint32, len(batch))
        masked = mask(checksums).tobytes()
        trailers = [masked[i : i + 4] for i in range(0, len(masked), 4)]
        headers = map(_header, map(len, batch))
        yield b"".join(itertools.chain.from_iterable(zip(headers, batch, trailers, strict=True)))


def mask(checksums: np.ndarray) -> np.ndarray:
    """Masks CRC-32C checksums for TFRecord: rotated right by 15, plus a constant; uint32."""
    checksums = checksums.astype("<u4")
    return (checksums >> 15 | checksums << 17) + np.uint32(0xA282EAD8)


@lru_cache(maxsize=1 << 14)
def _header(length: int) -> bytes:
    data = struct.pack("<Q", length)
    return data + mask(np.array([google_crc32c.value(data)])).tobytes()
