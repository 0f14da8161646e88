"""The types of a column of vectors, and what PostgreSQL needs for them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class VectorType:
    """How a vector is kept.

    Attributes:
        extension: Of PostgreSQL that the type needs; None for none.
        sql: The type for D components.
        text: Writes one vector as the type reads it.
        most: Components that the type takes.
        index: Makes searches quick, after `USING`; None for none.
        most_indexed: Components that the index takes.
    """

    extension: str | None
    sql: Callable[[int], str]
    text: Callable[[np.ndarray], str]
    most: int
    index: str | None
    most_indexed: int


def _list_text(vector: np.ndarray) -> str:
    return json.dumps(vector.tolist(), separators=(",", ":"))


PGVECTOR = VectorType(
    extension="vector",
    sql=lambda dimension: f"vector({dimension})",
    text=_list_text,
    most=16_000,
    index="hnsw (vector vector_l2_ops)",
    most_indexed=2_000,
)
