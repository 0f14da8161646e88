"""From a URL to a database; users, passwords and keys come from the environment alone."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.runtime import ConfigError
from pipeline.vector_databases.collection import Database, VectorDatabaseError

if TYPE_CHECKING:
    import pg8000.native

_PATIENCE = 10  # seconds until a server is taken for absent
_REQUEST_PATIENCE = 300  # seconds that Qdrant may take for one batch
_SSL_MODES = ("disable", "prefer", "require", "verify-full")


@contextlib.contextmanager
def open_database(
    kind: str, url: str, environment: Mapping[str, str] = os.environ
) -> Iterator[Database]:
    """Connects to a database for the time of a block.

    Args:
        kind: One of KINDS.
        url: For Qdrant `http://HOST:PORT` or `https://…`, or a folder for the local mode of its
            client; for pgvector `postgresql://HOST[:PORT]/DATABASE`.
        environment: QDRANT_API_KEY; PGUSER, PGPASSWORD, PGSSLMODE and PGSSLROOTCERT.

    Raises:
        ConfigError: The URL cannot be used.
        VectorDatabaseError: Nothing answers there, or it does not let this user in.
    """
    parts = urllib.parse.urlsplit(url)
    _check_no_secret(parts)
    with _OPENERS[kind](url, parts, environment) as database:
        yield database


def _check_no_secret(parts: urllib.parse.SplitResult) -> None:
    """Others see the command line, and shells keep it; so the message does not repeat it."""
    if "@" in parts.netloc or parts.query:
        raise ConfigError(
            "--url takes an address only, no user, password, key or parameters, as others can see "
            "the command line. Set QDRANT_API_KEY, or PGUSER, PGPASSWORD and PGSSLMODE, in the "
            "environment, and change what was typed."
        )


@contextlib.contextmanager
def _qdrant(
    url: str, parts: urllib.parse.SplitResult, environment: Mapping[str, str]
) -> Iterator[Database]:
    if parts.scheme and parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"--url {url} is no address of Qdrant: http://HOST:6333, https://…, or a folder."
        )
    import qdrant_client  # takes seconds to load

    from pipeline.vector_databases.qdrant import QdrantDatabase

    try:
        if parts.scheme:
            # Without a port the client would take 6333, also for https behind a proxy.
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            client = qdrant_client.QdrantClient(
                url=url,
                port=port,
                api_key=environment.get("QDRANT_API_KEY") or None,
                timeout=_REQUEST_PATIENCE,
                check_compatibility=False,  # warns only; what is missing is an error of its own
            )
        else:
            client = qdrant_client.QdrantClient(path=url)
    except (ValueError, RuntimeError, OSError) as error:
        raise VectorDatabaseError(f"Qdrant at {url} cannot be used: {error}") from error
    with contextlib.closing(client):
        yield QdrantDatabase(client, url)


@contextlib.contextmanager
def _postgresql(
    url: str, parts: urllib.parse.SplitResult, environment: Mapping[str, str]
) -> Iterator[Database]:
    name = urllib.parse.unquote(parts.path.strip("/"))
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not name:
        raise ConfigError(
            f"--url {url} is no address of PostgreSQL: postgresql://HOST[:PORT]/DATABASE."
        )
    from pipeline.vector_databases.postgresql import PostgresqlDatabase

    connection = _connect(url, parts.hostname, parts.port or 5432, name, environment)
    try:
        yield PostgresqlDatabase(connection, url)
    finally:
        with contextlib.suppress(Exception):  # it may be broken
            connection.close()


def _connect(
    url: str, host: str, port: int, database: str, environment: Mapping[str, str]
) -> pg8000.native.Connection:
    import pg8000.exceptions
    import pg8000.native

    try:
        link = socket.create_connection((host, port), _PATIENCE)
    except OSError as error:
        raise VectorDatabaseError(
            f"Nothing answers at {url}: {error}. Is PostgreSQL running there, and does it listen "
            "to this machine (listen_addresses)?"
        ) from error
    link.settimeout(None)  # an index may take hours
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    user = environment.get("PGUSER") or getpass.getuser()
    try:
        return pg8000.native.Connection(
            user,
            host=host,
            sock=link,
            database=database,
            password=environment.get("PGPASSWORD"),
            ssl_context=_ssl(environment),
            application_name="index push",
        )
    except (pg8000.exceptions.Error, OSError) as error:
        link.close()
        said = error.args[0] if error.args else error
        message = said.get("M", str(said)) if isinstance(said, dict) else str(said)
        raise VectorDatabaseError(
            f"PostgreSQL at {url} does not let {user} in: {message}. PGUSER, PGPASSWORD and "
            "PGSSLMODE of the environment are used."
        ) from error


def _ssl(environment: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    """What pg8000 takes for libpq's sslmode."""
    mode = environment.get("PGSSLMODE") or "prefer"
    if mode not in _SSL_MODES:
        raise ConfigError(f"PGSSLMODE is {mode}; known here are {', '.join(_SSL_MODES)}.")
    if mode == "verify-full":
        return ssl.create_default_context(cafile=environment.get("PGSSLROOTCERT") or None)
    return {"disable": False, "prefer": None, "require": True}[mode]


_OPENERS = {"qdrant": _qdrant, "pgvector": _postgresql}
KINDS = tuple(_OPENERS)
