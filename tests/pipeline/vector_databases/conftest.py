"""Real databases: Qdrant as its client runs it, and a PostgreSQL server for all files here."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pg8000.exceptions
import pg8000.native
import pytest
from qdrant_client import QdrantClient

from pipeline.vector_databases import PGVECTOR
from tests import databases
from tests.pipeline.vector_databases.reading import ARRAYS, InPostgresql, InQdrant, Reader


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture
def connect(postgresql_url: str) -> Iterator[Callable[[], pg8000.native.Connection]]:
    """Opens connections whose tables lie in a schema of this test."""
    schema = f"s{uuid.uuid4().hex}"
    host, _, port = postgresql_url.split("/")[2].partition(":")
    with contextlib.ExitStack() as stack:

        def opened() -> pg8000.native.Connection:
            connection = pg8000.native.Connection(
                databases.USER,
                host=host,
                port=int(port),
                database=postgresql_url.rpartition("/")[2],
                password=databases.PASSWORD,
            )
            stack.callback(connection.close)
            connection.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.run(f"SET search_path = {schema}, public")
            return connection

        yield opened


@pytest.fixture(params=["qdrant", "arrays", "pgvector"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader of each database; `reader.database()` takes a gallery."""
    if request.param == "qdrant":
        with contextlib.closing(QdrantClient(":memory:")) as client:
            yield InQdrant(client)
        return
    connection = request.getfixturevalue("connect")()
    if request.param == "arrays":
        yield InPostgresql(connection, ARRAYS)
        return
    try:
        connection.run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except pg8000.exceptions.DatabaseError as error:
        pytest.skip(f"no pgvector in this PostgreSQL: {error.args[0]['M']}")
    yield InPostgresql(connection, PGVECTOR)
