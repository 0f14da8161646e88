"""The gallery of a pushed version, read in pieces."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modules.contract import ID, LABEL
from modules.index import (
    GALLERY_FILE,
    THUMBNAIL,
    VECTOR,
    IndexDescription,
    IndexFileError,
    IndexMismatchError,
    check_same_model,
    index_folder,
)
from pipeline.runtime import ConfigError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class Batch(NamedTuple):
    """Images that follow one another in the gallery.

    Attributes:
        first: Row number of the first one.
        ids: Text, one for each image.
        labels: Text; None for an image without one.
        columns: Further columns by name, as values that JSON knows.
        vectors: float32 [images, D].
    """

    first: int
    ids: list[str]
    labels: list[str | None]
    columns: list[dict[str, Any]]
    vectors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The gallery of a version.

    Attributes:
        version: Number of the version; None for a folder whose name is no number.
        description: Of the index.
        digest: SHA-256 of the file.
    """

    version: int | None
    description: IndexDescription
    digest: str
    _file: pq.ParquetFile

    def batches(self, start: int, size: int) -> Iterator[Batch]:
        """Reads images; one row group is in memory at a time.

        Args:
            start: Row number of the first image.
            size: How many images a batch has at most.
        """
        names = [name for name in self._file.schema_arrow.names if name != THUMBNAIL]
        further = [name for name in names if name not in (ID, LABEL, VECTOR)]
        group_start = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            skipped = min(max(start - group_start, 0), rows)
            if skipped < rows:
                table = self._file.read_row_group(group, names).combine_chunks()
                for offset in range(skipped, rows, size):
                    yield self._batch(group_start + offset, table.slice(offset, size), further)
            group_start += rows

    def _batch(self, first: int, table: Any, further: list[str]) -> Batch:
        flat = table[VECTOR].combine_chunks().flatten().to_numpy()
        vectors = flat.reshape(len(table), self.description.dimension)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise ConfigError(
                f"Row {first + bad[0]:,} of the gallery has a vector that is not finite. The model "
                "is broken; serve an earlier one with `python -m pipeline rollback`."
            )
        return Batch(
            first,
            [plain(value) for value in table[ID].to_pylist()],
            [plain(value) for value in table[LABEL].to_pylist()],
            [plain(row) for row in table.select(further).to_pylist()],
            vectors,
        )


@contextlib.contextmanager
def open_gallery(version_folder: str) -> Iterator[Gallery]:
    """Opens the gallery of a version, after its model and its index were found to be one.

    Args:
        version_folder: With a SavedModel and `index/`: local, or a URI that TensorFlow reads, from
            where the gallery is copied to a temporary file first.

    Raises:
        ConfigError: It has no model or no index, the index was made by another model, or its files
            do not belong together.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = f"{index_folder(version_folder)}/{GALLERY_FILE}"
    with contextlib.ExitStack() as stack:
        try:
            description = check_same_model(version_folder)
            local = stack.enter_context(_local(path))
            content = stack.enter_context(local.open("rb"))
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            file = pq.ParquetFile(content)
        except (IndexFileError, IndexMismatchError, OSError, pa.ArrowException) as error:
            raise ConfigError(str(error)) from error
        _check(path, file, description)
        name = PurePath(version_folder).name
        version = int(name) if name.isascii() and name.isdigit() else None
        yield Gallery(version, description, digest, file)


def _check(path: str, file: pq.ParquetFile, description: IndexDescription) -> None:
    import pyarrow as pa

    schema, remedy = file.schema_arrow, "Push the model again to write them anew."
    if missing := [name for name in (ID, LABEL, VECTOR) if name not in schema.names]:
        raise ConfigError(f"{path} lacks {', '.join(missing)}. {remedy}")
    if schema.field(VECTOR).type != pa.list_(pa.float32(), description.dimension):
        raise ConfigError(
            f"The vectors in {path} are {schema.field(VECTOR).type}, but index.json says "
            f"{description.dimension} components. {remedy}"
        )
    if file.metadata.num_rows != description.images:
        raise ConfigError(
            f"{path} has {file.metadata.num_rows:,} rows, but index.json says "
            f"{description.images:,} images. {remedy}"
        )


@contextlib.contextmanager
def _local(path: str) -> Iterator[Path]:
    """The file itself, or a copy of one that only TensorFlow reads."""
    if "://" not in path:
        yield Path(path)
        return
    import tensorflow as tf  # takes seconds to load

    with tempfile.TemporaryDirectory(prefix="gallery-") as folder:
        copy = Path(folder, GALLERY_FILE)
        try:
            tf.io.gfile.copy(path, str(copy))
        except tf.errors.OpError as error:
            raise OSError(f"{path} cannot be read: {error.message}") from error
        yield copy


def plain(value: Any) -> Any:
    r"""A value of a column as JSON and both databases can keep it.

    Bytes become text; those that are not UTF-8, and the character 0, which PostgreSQL does not
    know, are written as `\xNN`. Numbers that are not finite become None.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.replace("\0", r"\x00")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, dict):
        return {plain(str(name)): plain(of_name) for name, of_name in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
