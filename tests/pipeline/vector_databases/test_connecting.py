"""Addresses and credentials, and servers that are not there or do not let anybody in."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime import ConfigError
from pipeline.vector_databases import VectorDatabaseError, open_database
from tests import databases
from tests.pipeline.vector_databases.conftest import ENVIRONMENT


@pytest.mark.parametrize(
    ("kind", "url", "message"),
    [
        ("qdrant", "postgresql://here/db", "no address of Qdrant"),
        ("pgvector", "http://here:6333", "no address of PostgreSQL"),
        ("pgvector", "postgresql://here", "no address of PostgreSQL"),
        ("pgvector", "postgresql:///db", "no address of PostgreSQL"),
        ("pgvector", "postgresql://me:hush@here/db", "QDRANT_API_KEY, or PGUSER"),
        ("pgvector", "postgresql://here/db?password=hush", "QDRANT_API_KEY, or PGUSER"),
        ("qdrant", "https://hush@here:6333", "QDRANT_API_KEY, or PGUSER"),
    ],
)
def test_addresses_that_cannot_be_used(kind: str, url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error, open_database(kind, url, {}):
        pass
    assert "hush" not in str(error.value)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_nothing_answers(free_port: int) -> None:
    url = f"postgresql://127.0.0.1:{free_port}/db"
    with pytest.raises(VectorDatabaseError, match=rf"Nothing answers at {url}.*refused"):
        open_database("pgvector", url, {}).__enter__()
    url = f"http://127.0.0.1:{free_port}"
    with (
        open_database("qdrant", url, {}) as database,
        pytest.raises(VectorDatabaseError, match=rf"Qdrant at {url} does not answer.*refused"),
    ):
        database.collections("birds")


@contextlib.contextmanager
def answering(status: int, seen: list[str | None]) -> Iterator[str]:
    """An HTTP server that answers one thing to all."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("api-key"))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *values: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "403.*Set QDRANT_API_KEY to a key that may write"), (404, "404.*run the command again")],
)
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_server_that_refuses(status: int, message: str) -> None:
    seen: list[str | None] = []
    with (
        answering(status, seen) as url,
        open_database("qdrant", url, {"QDRANT_API_KEY": "hush"}) as database,
        pytest.raises(VectorDatabaseError, match=f"(?s){message}") as error,
    ):
        database.collections("birds")
    assert seen == ["hush"]
    assert "hush" not in str(error.value)


def test_a_folder_of_qdrant_is_used_by_one(tmp_path: Path) -> None:
    folder = str(tmp_path / "qdrant")
    with (
        open_database("qdrant", folder, {}),
        pytest.raises(VectorDatabaseError, match="already accessed"),
        open_database("qdrant", folder, {}),
    ):
        pass
    with open_database("qdrant", folder, {}) as database:
        assert database.collections("birds") == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PGPASSWORD": "wrong hush"}, "does not let triplet in: password authentication failed"),
        ({"PGUSER": "nobody here"}, "does not let nobody here in"),
        ({"PGSSLMODE": "require"}, "Server refuses SSL"),
    ],
)
def test_a_user_who_is_not_let_in(postgresql_url: str, given: dict, message: str) -> None:
    with (
        pytest.raises(VectorDatabaseError, match=message) as error,
        open_database("pgvector", postgresql_url, ENVIRONMENT | given),
    ):
        pass
    assert "hush" not in str(error.value)
    assert databases.PASSWORD not in str(error.value)


def test_a_mode_of_encryption_that_is_not_known(postgresql_url: str) -> None:
    with (
        pytest.raises(ConfigError, match="PGSSLMODE is allow; known here are disable, prefer"),
        open_database("pgvector", postgresql_url, ENVIRONMENT | {"PGSSLMODE": "allow"}),
    ):
        pass


@pytest.mark.parametrize("mode", [{}, {"PGSSLMODE": "disable"}])
def test_a_user_who_is_let_in(postgresql_url: str, mode: dict) -> None:
    with open_database("pgvector", postgresql_url, ENVIRONMENT | mode) as database:
        assert database.place == postgresql_url
        assert database.served("birds") is None


def test_a_database_that_is_not_there(postgresql_url: str) -> None:
    url = f"{postgresql_url}-other"
    with (
        pytest.raises(VectorDatabaseError, match='database "metadata-other" does not exist'),
        open_database("pgvector", url, ENVIRONMENT),
    ):
        pass
