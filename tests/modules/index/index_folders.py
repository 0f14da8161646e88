"""Version folders with small galleries, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from modules.index import (
    THUMBNAIL,
    IndexDescription,
    gallery_schema,
    index_folder,
    model_fingerprint,
    write_index,
)


def unit_vectors(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gallery_table(
    vectors: np.ndarray,
    ids: Sequence[bytes] | None = None,
    labels: Sequence[bytes | None] | None = None,
    thumbnails: Sequence[bytes | None] | None = None,
    **further: pa.Array,
) -> pa.Table:
    """Rows with ids id-00000, id-00001, … and the labels c0, c1, c2 in turn by default."""
    count, dimension = vectors.shape
    columns: dict[str, Any] = {
        "id": pa.array(ids or [b"id-%05d" % i for i in range(count)], pa.binary()),
        "label": pa.array(labels or [b"c%d" % (i % 3) for i in range(count)], pa.binary()),
        **further,
    }
    if thumbnails:
        columns[THUMBNAIL] = pa.array(thumbnails, pa.binary())
    types = {name: values.type for name, values in columns.items() if name not in ("id", "label")}
    flat = pa.array(vectors.astype(np.float32).reshape(-1))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, dimension)
    return pa.table(columns, schema=gallery_schema(dimension, types))


def write_flat_index(version: Path, vectors: np.ndarray, **columns: Any) -> None:
    """Writes an exact index into a version folder, for the model that is there."""
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    description = IndexDescription(
        model=model_fingerprint(str(version)), images=len(vectors), dimension=vectors.shape[1]
    )
    write_index(index_folder(str(version)), gallery_table(vectors, **columns), index, description)


def fake_model(folder: Path, content: bytes = b"graph") -> Path:
    """Files with the names of a SavedModel: enough for what never loads it."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder
