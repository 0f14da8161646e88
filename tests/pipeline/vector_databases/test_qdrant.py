"""What only Qdrant has: servers of earlier versions, and a size of requests."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from pipeline.vector_databases import QdrantDatabase, VectorDatabaseError
from tests.pipeline.vector_databases.reading import InQdrant, make_version, push


class OldServer(QdrantClient):
    """Takes no notice of what it does not know."""

    def create_collection(self, collection_name: str, **values: Any) -> bool:
        values.pop("metadata")
        return super().create_collection(collection_name, **values)


def test_a_server_that_keeps_no_metadata_is_refused(tmp_path: Path) -> None:
    version = make_version(tmp_path / "7", b"one", images=5)
    with contextlib.closing(OldServer(":memory:")) as client:
        with pytest.raises(VectorDatabaseError, match=r"keeps no metadata.*Update the server"):
            push(version, QdrantDatabase(client, "memory"))
        assert client.get_collections().collections == []


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    """Where others made a collection of the same name anew."""
    version = make_version(tmp_path / "7", b"one", images=5)
    with contextlib.closing(QdrantClient(":memory:")) as client:
        facts = push(version, InQdrant(client).database()).facts
        client.delete_collection(facts.collection)
        client.create_collection(
            facts.collection,
            vectors_config=models.VectorParams(size=9, distance=models.Distance.EUCLID),
            metadata=facts.model_dump(),
        )
        with pytest.raises(VectorDatabaseError, match="another size \\(9, not 8\\)"):
            push(version, InQdrant(client).database())


@pytest.mark.parametrize(
    ("dimension", "images"),
    # 8,000,000 bytes of JSON at 22 for each component.
    [(8, 1024), (512, 8_000_000 // (22 * 512)), (1_000_000, 1)],
)
def test_a_request_stays_below_what_servers_take(dimension: int, images: int) -> None:
    with contextlib.closing(QdrantClient(":memory:")) as client:
        assert QdrantDatabase(client, "memory").batch_size(dimension) == images
