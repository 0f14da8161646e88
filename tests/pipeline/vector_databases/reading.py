"""What readers of the databases see, in one form for all; and versions to hand over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pg8000.native
from qdrant_client import QdrantClient, models

from modules.contract import ID, LABEL
from modules.index import index_folder, open_index
from pipeline.vector_databases import (
    Database,
    HandedOver,
    PostgresqlDatabase,
    QdrantDatabase,
    VectorType,
    hand_over,
    open_gallery,
)
from tests.modules.index.index_folders import fake_model, unit_vectors, write_flat_index

ALIAS = "birds"
# A server without pgvector keeps arrays: all but the type, its index and its distance is the same.
# Two types, so that a view must be made anew where the number of components changes.
ARRAYS = VectorType(
    extension=None,
    sql=lambda dimension: "float4[]" if dimension == 8 else "float8[]",
    text=lambda vector: "{" + ",".join(map(repr, vector.tolist())) + "}",
    most=100,
    index=None,
    most_indexed=0,
)


class KilledError(BaseException):
    """Stands for the end of the process."""


def make_version(
    folder: Path, model: bytes, images: int = 2500, dimension: int = 8, **columns: Any
) -> str:
    """A version whose model and vectors depend on `model`; three row groups by default."""
    version = fake_model(folder, model)
    write_flat_index(version, unit_vectors(images, dimension, seed=sum(model)), **columns)
    return str(version)


def push(version: str, database: Database, keep: int = 1, killed_after: int = 99) -> HandedOver:
    """Hands over; ends as by a kill when so many batches were stored."""
    seen: list[int] = []

    def progress(images: int) -> None:
        seen.append(images)
        if len(seen) == killed_after:
            raise KilledError

    with open_gallery(version) as gallery:
        return hand_over(gallery, database, ALIAS, keep, progress)


def rows_of(version: str) -> list[tuple[Any, ...]]:
    """Row, id, label and vector of each image, as the files of the version say."""
    index = open_index(index_folder(version))
    rows = index.rows(range(len(index)))
    vectors = index.vectors(range(len(index))).tolist()
    return [
        (number, row[ID].decode(), row[LABEL].decode(), vector)
        for number, (row, vector) in enumerate(zip(rows, vectors, strict=True))
    ]


def _float32(values: list[float]) -> list[float]:
    """Databases write a float32 in fewer digits."""
    return np.float32(values).tolist()


@dataclasses.dataclass
class InQdrant:
    """A reader of Qdrant."""

    client: QdrantClient

    def database(self) -> Database:
        return QdrantDatabase(self.client, "memory")

    def rows(self, name: str = ALIAS) -> list[tuple[Any, ...]]:
        points, _ = self.client.scroll(name, limit=10_000, with_vectors=True)
        return sorted(
            (p.id, p.payload["id"], p.payload["label"], _float32(p.vector)) for p in points
        )

    def models(self) -> set[str]:
        points, _ = self.client.scroll(ALIAS, limit=10_000)
        return {point.payload["model"] for point in points}

    def columns(self) -> list[dict[str, Any]]:
        points, _ = self.client.scroll(ALIAS, limit=10_000)
        return [point.payload["columns"] for point in sorted(points, key=lambda p: p.id)]

    def nearest(self, query: np.ndarray, k: int) -> list[int]:
        return [p.id for p in self.client.query_points(ALIAS, query.tolist(), limit=k).points]

    def remove_rows(self, name: str, first: int, last: int) -> None:
        self.client.delete(name, list(range(first, last)))

    def add_row(self, name: str, row: int) -> None:
        self.client.upsert(name, [models.PointStruct(id=row, vector=[0.0] * 8, payload={})])

    def make_collection(self, name: str) -> None:
        size = models.VectorParams(size=8, distance=models.Distance.EUCLID)
        self.client.create_collection(name, vectors_config=size)


@dataclasses.dataclass
class InPostgresql:
    """A reader of PostgreSQL."""

    connection: pg8000.native.Connection
    vector: VectorType

    def database(self) -> Database:
        return PostgresqlDatabase(self.connection, "server", self.vector)

    def rows(self, name: str = ALIAS) -> list[tuple[Any, ...]]:
        found = self.connection.run(f"SELECT row, id, label, CAST(vector AS text) FROM {name}")
        return sorted(
            (row, name, label, _float32(json.loads(f"[{vector.strip('{}[]')}]")))
            for row, name, label, vector in found
        )

    def models(self) -> set[str]:
        return {model[:12] for (model,) in self.connection.run(f"SELECT model FROM {ALIAS}")}

    def columns(self) -> list[dict[str, Any]]:
        return [c for (c,) in self.connection.run(f"SELECT columns FROM {ALIAS} ORDER BY row")]

    def nearest(self, query: np.ndarray, k: int) -> list[int]:
        if self.vector is not ARRAYS:
            found = self.connection.run(
                f"SELECT row FROM {ALIAS} ORDER BY vector <-> CAST(:q AS vector) LIMIT {k}",
                q=json.dumps(query.tolist()),
            )
        else:
            found = self.connection.run(
                f"SELECT row FROM {ALIAS} ORDER BY (SELECT sum((v - q) ^ 2) FROM "
                f"unnest(vector, CAST(:q AS float4[])) AS u(v, q)) LIMIT {k}",
                q=query.tolist(),
            )
        return [row for (row,) in found]

    def remove_rows(self, name: str, first: int, last: int) -> None:
        self.connection.run(f"DELETE FROM {name} WHERE row >= {first} AND row < {last}")

    def add_row(self, name: str, row: int) -> None:
        self.connection.run(
            f"INSERT INTO {name} SELECT {row}, id, label, columns, vector FROM {name} WHERE row = 0"
        )

    def make_collection(self, name: str) -> None:
        self.connection.run(f"CREATE TABLE {name} (row bigint)")


Reader = InQdrant | InPostgresql
