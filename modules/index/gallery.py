"""An index that is opened to be searched."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modules.contract import ID
from modules.index.description import IndexDescription, IndexFileError
from modules.index.layout import (
    GALLERY_FILE,
    IMAGE_HASH,
    THUMBNAIL,
    VECTOR,
    VECTORS_FILE,
    read_description,
)
from modules.storage import is_remote, read_bytes

if TYPE_CHECKING:
    import faiss
    import pyarrow as pa
    import pyarrow.parquet as pq

_APART = (VECTOR, THUMBNAIL, IMAGE_HASH)  # columns that are read where they are wanted, if at all
_GROUPS_KEPT = 16


class GalleryIndex:
    """Vectors with their ids, labels and further columns; may be used by several threads.

    Attributes:
        description: Of the index.
    """

    def __init__(
        self, description: IndexDescription, vectors: faiss.Index, gallery: pq.ParquetFile
    ) -> None:
        self.description = description
        self._vectors = vectors
        self._gallery = gallery
        light = [name for name in gallery.schema_arrow.names if name not in _APART]
        self._columns = gallery.read(light).combine_chunks()
        sizes = [gallery.metadata.row_group(i).num_rows for i in range(gallery.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._groups: collections.OrderedDict[tuple[str, int], pa.Array] = collections.OrderedDict()
        self._reading = threading.Lock()
        self._ranks = _ranks(self._columns[ID])

    def __len__(self) -> int:
        return self.description.images

    @property
    def has_thumbnails(self) -> bool:
        """Whether the gallery keeps small pictures of its images."""
        return THUMBNAIL in self._gallery.schema_arrow.names

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the nearest of the gallery.

        A flat index is exact, and neighbours at the same distance are in the order of their ids.
        Another may miss some.

        Args:
            vectors: float32 [Q, D], of norm 1.
            k: How many neighbours, at least 1.

        Returns:
            Squared L2 distances, float32 [Q, K], ascending; and row numbers, int64 [Q, K]; K is
            the smaller of k and the size of the gallery. Where an index finds fewer, the rest are
            infinity and −1.

        Raises:
            ValueError: `vectors` has another shape, or k is below 1.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.description.dimension:
            raise ValueError(
                f"the index holds vectors of {self.description.dimension} components, the queries "
                f"have the shape {vectors.shape}"
            )
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        k = min(k, len(self))
        exact = self.description.kind == "flat"
        wanted = min(k + 1, len(self)) if exact else k
        distances, rows = self._nearest(vectors, wanted)
        if exact:
            distances, rows = self._with_ties(vectors, distances, rows, k)
        distances, rows = self._in_order(distances, rows)
        return distances[:, :k], rows[:, :k]

    def _nearest(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if not len(vectors):
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        distances, rows = self._vectors.search(vectors, k)
        distances = np.maximum(distances, 0)  # rounding can fall below
        distances[rows < 0] = np.inf
        return distances, rows

    def _with_ties(
        self, vectors: np.ndarray, distances: np.ndarray, rows: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Looks farther where what was left out is as near as the last, and may come before it."""
        while distances.shape[1] > k and distances.shape[1] < len(self):
            if not (distances[:, -1] == distances[:, k - 1]).any():
                break
            distances, rows = self._nearest(vectors, min(2 * distances.shape[1], len(self)))
        return distances, rows

    def _in_order(self, distances: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sorts by distance, then by id."""
        ranks = rows if self._ranks is None else np.where(rows < 0, -1, self._ranks[rows])
        order = np.lexsort((ranks, distances), axis=1)
        return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)

    def rows(self, numbers: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Ids, labels and further columns of some rows, by name, in the order that is asked for.

        Vectors, thumbnails and hashes are not among them. Text that the gallery keeps as bytes
        stays bytes.
        """
        return self._columns.take(np.asarray(numbers, np.int64)).to_pylist()

    def vectors(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The vectors of some rows as the model made them: float32 [rows, D]."""
        found = [self._value(VECTOR, int(number)).values.to_numpy() for number in numbers]
        return np.stack(found) if found else np.empty((0, self.description.dimension), np.float32)

    def thumbnails(self, numbers: Sequence[int] | np.ndarray) -> list[bytes | None]:
        """Small pictures of some rows, JPEG; None for a row without one."""
        if not self.has_thumbnails:
            return [None] * len(numbers)
        return [self._value(THUMBNAIL, int(number)).as_py() for number in numbers]

    def find(self, example_id: bytes) -> int | None:
        """The row with an id; None without one."""
        import pyarrow.compute as pc

        column = self._columns[ID]
        row = pc.index(column, _scalar(example_id, column.type)).as_py()
        return None if row < 0 else row

    def _value(self, column: str, number: int) -> pa.Scalar:
        """One value of a column that is not kept as a whole."""
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        with self._reading:
            values = self._groups.get((column, group))
            if values is None:
                table = self._gallery.read_row_group(group, [column])
                values = self._groups[column, group] = table[column].combine_chunks()
                if len(self._groups) > _GROUPS_KEPT:
                    self._groups.popitem(last=False)
            else:
                self._groups.move_to_end((column, group))
        return values[number - int(self._starts[group])]


def open_index(folder: str) -> GalleryIndex:
    """Opens an index to search it.

    Local files are mapped into memory, so several processes share them, and a version that is
    removed meanwhile can still be searched by those that have opened it.

    Args:
        folder: Of the index: `index_folder(version)`.

    Raises:
        NoIndexError: There is none.
        IndexFileError: Its files cannot be read or do not belong together.
    """
    import faiss
    import pyarrow as pa
    import pyarrow.parquet as pq

    description = read_description(folder)
    folder = folder.rstrip("/")
    vectors_file, gallery_file = f"{folder}/{VECTORS_FILE}", f"{folder}/{GALLERY_FILE}"
    try:
        if is_remote(folder):
            content = np.frombuffer(read_bytes(vectors_file), np.uint8)
            vectors = faiss.deserialize_index(content)
            gallery = pq.ParquetFile(pa.BufferReader(read_bytes(gallery_file)))
        else:
            vectors = faiss.read_index(vectors_file, faiss.IO_FLAG_MMAP_IFC)
            gallery = pq.ParquetFile(gallery_file, memory_map=True)
    except (OSError, RuntimeError, pa.ArrowException) as error:
        raise IndexFileError(
            f"The index in {folder} cannot be read: {error}. Push the model again to write it anew."
        ) from error
    found = (vectors.ntotal, gallery.metadata.num_rows, vectors.d)
    expected = (description.images, description.images, description.dimension)
    if found != expected or vectors.metric_type != faiss.METRIC_L2:
        raise IndexFileError(
            f"The files of the index in {folder} do not belong together: {found[0]:,} vectors of "
            f"{found[2]} components and {found[1]:,} rows, but the description says "
            f"{description.images:,} of {description.dimension}. Push the model again to write "
            "them anew."
        )
    return GalleryIndex(description, vectors, gallery)


def _ranks(ids: pa.ChunkedArray) -> np.ndarray | None:
    """The place of each row in the order of ids, int64 [N]; None if rows are in that order."""
    import pyarrow.compute as pc

    if len(ids) < 2 or pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        return None
    order = pc.sort_indices(ids).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _scalar(example_id: bytes, kind: pa.DataType) -> pa.Scalar:
    import pyarrow as pa

    value = example_id.decode(errors="replace") if pa.types.is_string(kind) else example_id
    return pa.scalar(value, kind)
