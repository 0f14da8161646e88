"""The TFRecord format: what stands around the records of a file.

Nearly all bytes of a record are an image, which is compressed already. So the files are not
compressed: gzip would take more time than all else and save little.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

import google_crc32c
import numpy as np

_RECORDS_PER_WRITE = 256


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
