"""The three files of an index, written and described.

| file              | holds                                                                     |
|-------------------|---------------------------------------------------------------------------|
| `vectors.faiss`   | the faiss index; its ids are row numbers of the gallery, 0 … N−1           |
| `gallery.parquet` | row i: `id` and `label` (binary), `vector` (float32 [D]), perhaps          |
|                   | `thumbnail` (binary, a JPEG of at most 96 pixels) and `image_hash`, and    |
|                   | any further columns                                                        |
| `index.json`      | the description                                                           |

They lie in the output of the node that makes them, and in `index/` of a version folder. The
description is written last: where it is, the index is complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modules.contract import ID, LABEL
from modules.index.description import FORMAT, IndexDescription, IndexFileError, NoIndexError
from modules.storage import path_exists, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FOLDER = "index"
VECTORS_FILE = "vectors.faiss"
GALLERY_FILE = "gallery.parquet"
DESCRIPTION_FILE = "index.json"
VECTOR, THUMBNAIL = "vector", "thumbnail"
# Of the encoded file: tells the next index which images are new.
IMAGE_HASH = "image_hash"
# Rows that are read together where a few are wanted, for their pictures: 1,024 of 2 kB are 2 MB.
ROW_GROUP = 1024


def index_folder(version: str) -> str:
    """The folder of the index in a version folder."""
    return f"{version.rstrip('/')}/{INDEX_FOLDER}"


def gallery_schema(dimension: int, further: dict[str, Any] | None = None) -> pa.Schema:
    """The columns of `gallery.parquet`.

    Args:
        dimension: D, of a vector.
        further: Arrow types by name of further columns, such as `{"thumbnail": pa.binary()}`.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(ID, pa.binary(), nullable=False),
            pa.field(LABEL, pa.binary()),
            *((further or {}).items()),
            pa.field(VECTOR, pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


def write_index(
    folder: str,
    rows: pa.Table | pa.RecordBatchReader,
    faiss_index: Any,
    description: IndexDescription,
) -> None:
    """Writes the three files, the description last.

    Args:
        folder: Local; it is made. In a version that is `index_folder(version)`.
        rows: As `gallery_schema`, in the order of the numbers in the index. A reader of batches
            keeps no more than one of them in memory.
        faiss_index: A `faiss.Index` of squared L2 distances, trained and filled.
        description: `images`, `dimension` and `bytes` are set to what is written.

    Raises:
        IndexFileError: The rows are not as many as the vectors, lack a column, or have another
            dimension.
        OSError: A file cannot be written.
    """
    import faiss
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    reader = rows.to_reader(ROW_GROUP) if isinstance(rows, pa.Table) else rows
    _check_columns(reader.schema, faiss_index.d)
    written = 0
    # Vectors and pictures do not become smaller by dictionaries or compression.
    with pq.ParquetWriter(
        place / GALLERY_FILE,
        reader.schema,
        compression={
            n: "none" if n in (VECTOR, THUMBNAIL) else "zstd" for n in reader.schema.names
        },
        use_dictionary=[n for n in reader.schema.names if n not in (ID, VECTOR, THUMBNAIL)],
        write_page_checksum=True,  # the next index takes vectors over from this file
    ) as writer:
        for batch in reader:
            writer.write_batch(batch, row_group_size=ROW_GROUP)
            written += len(batch)
    if written != faiss_index.ntotal:
        raise IndexFileError(
            f"{folder}: {written:,} rows for {faiss_index.ntotal:,} vectors in the index; there "
            "must be a row for each."
        )
    faiss.write_index(faiss_index, str(place / VECTORS_FILE))
    size = (place / VECTORS_FILE).stat().st_size
    facts = {"images": written, "dimension": int(faiss_index.d), "bytes": size}
    text = description.model_copy(update=facts).model_dump_json(indent=2)
    unfinished = place / f".{DESCRIPTION_FILE}.tmp"
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(place / DESCRIPTION_FILE)


def _check_columns(schema: pa.Schema, dimension: int) -> None:
    import pyarrow as pa

    missing = [name for name in (ID, LABEL, VECTOR) if name not in schema.names]
    if missing:
        raise IndexFileError(f"The rows of the gallery lack {', '.join(missing)}.")
    if schema.field(VECTOR).type != pa.list_(pa.float32(), dimension):
        raise IndexFileError(
            f"The column `vector` is of type {schema.field(VECTOR).type}, but the index needs "
            f"{dimension} float32 in each row."
        )


def has_index(version: str) -> bool:
    """Whether a version folder holds an index that is complete."""
    return path_exists(f"{index_folder(version)}/{DESCRIPTION_FILE}")


def read_description(folder: str) -> IndexDescription:
    """Reads what an index says of itself.

    Args:
        folder: Of the index.

    Raises:
        NoIndexError: There is none.
        IndexFileError: It is of a newer format, or no description.
    """
    path = f"{folder.rstrip('/')}/{DESCRIPTION_FILE}"
    try:
        found = IndexDescription.model_validate_json(read_bytes(path))
    except FileNotFoundError as error:
        raise NoIndexError(f"There is no index in {folder}.") from error
    except ValidationError as error:
        raise IndexFileError(f"{path} does not describe an index: {error}") from error
    if found.format > FORMAT:
        raise IndexFileError(
            f"{path} is of format {found.format}; this program reads formats up to {FORMAT}. Use "
            "the version of this project that has written it, or a newer one."
        )
    return found
