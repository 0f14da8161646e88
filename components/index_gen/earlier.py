"""The gallery of an earlier index of the same model: what of it need not be embedded again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.utils import shared

from modules.contract import ID
from modules.index import IMAGE_HASH, VECTOR
from modules.storage import SeekableFile

_HALVES = np.dtype([("high", "<u8"), ("low", "<u8")])


class EarlierGallery:
    """`gallery.parquet` of an index, with its rows by id and hash of the image.

    Memory: 24 bytes a row.

    Attributes:
        dimension: Of its vectors.
    """

    def __init__(self, path: str) -> None:
        """Reads ids and hashes.

        Args:
            path: Of the Parquet file.
        """
        self._file = pq.ParquetFile(SeekableFile(path))
        self._reading = threading.Lock()  # the threads of a worker share it
        self.dimension = int(self._file.schema_arrow.field(VECTOR).type.list_size)
        keys = [
            _keys(batch[ID].to_pylist(), batch[IMAGE_HASH].to_pylist())
            for batch in self._file.iter_batches(columns=[ID, IMAGE_HASH])
        ]
        unordered = np.concatenate([np.empty(0, _HALVES), *keys])
        self._rows = np.argsort(unordered["high"], kind="stable")
        self._keys = unordered[self._rows]
        groups = range(self._file.num_row_groups)
        sizes = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def rows_of(self, ids: Sequence[bytes], hashes: Sequence[str]) -> np.ndarray:
        """Row numbers of images that are there, with the same id and bytes.

        Args:
            ids: N of them.
            hashes: Of the encoded images.

        Returns:
            int64 [N], −1 for an image that is new or has changed.
        """
        keys = _keys(ids, hashes)
        if not len(self._keys):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._keys["high"], keys["high"])
        places = np.minimum(places, len(self._keys) - 1)
        # Of two keys with one first half, one is taken for new and embedded: nothing is wrong.
        return np.where(self._keys[places] == keys, self._rows[places], -1)

    def read(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Columns of some rows.

        Args:
            rows: int64 [N], ascending, at least one.
            columns: Their names.
        """
        groups = np.unique(np.searchsorted(self._firsts, rows, side="right") - 1)
        with self._reading:
            table = self._file.read_row_groups(groups.tolist(), list(columns))
        sizes = self._firsts[groups + 1] - self._firsts[groups]
        starts = np.cumsum(sizes) - sizes  # of each group in the table
        place = np.searchsorted(groups, np.searchsorted(self._firsts, rows, side="right") - 1)
        return table.take(rows - self._firsts[groups[place]] + starts[place])


class SharedEarlier:
    """An earlier gallery that the steps of a pipeline share: a process reads it once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = shared.Shared()

    def acquire(self) -> EarlierGallery:
        """Opens it, or finds it open."""
        return self._handle.acquire(lambda: EarlierGallery(self._path))


def column_names(path: str) -> list[str]:
    """Names of the columns of a Parquet file."""
    with SeekableFile(path) as file:
        names: list[str] = pq.ParquetFile(file).schema_arrow.names
        return names


def check_readable(path: str) -> None:
    """Reads a Parquet file to its end, and compares the checksums of its pages.

    Raises:
        OSError: It is cut, or has changed since it was written.
        ValueError: It is no Parquet file; Arrow's errors are of these two kinds.
    """
    with SeekableFile(path) as file:
        for _ in pq.ParquetFile(file, page_checksum_verification=True).iter_batches():
            pass


def hash_image(image: bytes) -> str:
    """A hash of an encoded image: 16 bytes of BLAKE2b, hexadecimal."""
    return hashlib.blake2b(image, digest_size=16).hexdigest()


def _keys(ids: Sequence[bytes], hashes: Sequence[str]) -> np.ndarray:
    """One number of 16 bytes for an id with a hash: [N] of two halves."""
    digests = (
        hashlib.blake2b(bytes.fromhex(image) + example_id, digest_size=16).digest()
        for example_id, image in zip(ids, hashes, strict=True)
    )
    return np.frombuffer(b"".join(digests), _HALVES)
