"""Real databases: Qdrant as its client runs it, and a PostgreSQL server for all files here."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping

import pg8000.exceptions
import pg8000.native
import pytest
from qdrant_client import QdrantClient

from pipeline.vector_databases import PGVECTOR
from tests import databases
from tests.pipeline.vector_databases.reading import ARRAYS, InPostgresql, InQdrant, Reader

Connect = Callable[[], pg8000.native.Connection]
ENVIRONMENT = {"PGUSER": databases.USER, "PGPASSWORD": databases.PASSWORD}
# Names a PostgreSQL with pgvector, for machines whose own has none; PGUSER and PGPASSWORD go along.
ELSEWHERE = "PGVECTOR_TEST_URL"


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@contextlib.contextmanager
def schema_in(url: str, environment: Mapping[str, str]) -> Iterator[Connect]:
    """Opens connections whose tables lie in a schema of their own."""
    schema = f"s{uuid.uuid4().hex}"
    parts = urllib.parse.urlsplit(url)
    with contextlib.ExitStack() as stack:

        def opened() -> pg8000.native.Connection:
            connection = pg8000.native.Connection(
                environment["PGUSER"],
                host=parts.hostname,
                port=parts.port,
                database=parts.path.strip("/"),
                password=environment["PGPASSWORD"],
            )
            stack.callback(connection.close)
            connection.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.run(f"SET search_path = {schema}, public")
            return connection

        yield opened


@pytest.fixture
def connect(postgresql_url: str) -> Iterator[Connect]:
    with schema_in(postgresql_url, ENVIRONMENT) as opened:
        yield opened


@pytest.fixture(params=["qdrant", "arrays", "pgvector"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader of each database; `reader.database()` takes a gallery."""
    if request.param == "qdrant":
        with contextlib.closing(QdrantClient(":memory:")) as client:
            yield InQdrant(client)
        return
    if request.param == "arrays":
        yield InPostgresql(request.getfixturevalue("connect")(), ARRAYS)
        return
    elsewhere = os.environ.get(ELSEWHERE)
    url = elsewhere or request.getfixturevalue("postgresql_url")
    environment = os.environ if elsewhere else ENVIRONMENT
    with schema_in(url, environment) as opened:
        connection = opened()
        try:
            connection.run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except pg8000.exceptions.DatabaseError as error:
            why = error.args[0]["M"]
            pytest.skip(f"no pgvector in this PostgreSQL ({why}), and no {ELSEWHERE} names one")
        yield InPostgresql(connection, PGVECTOR)
