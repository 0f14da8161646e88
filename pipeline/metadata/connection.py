"""Connections to metadata databases: the SQLite file of local runs, the server of a cluster."""

from __future__ import annotations

import logging
import os
import random
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import has_run
from pipeline.config import Config
from pipeline.metadata.postgresql import make_store
from pipeline.metadata.sqlite_file import check_database
from pipeline.runtime import MetadataError, NotRunError

USERNAME, PASSWORD = "METADATA_USERNAME", "METADATA_PASSWORD"
_PORTS = {"mysql": 3306, "postgresql": 5432, "grpc": 8080}
# Repeated by MLMD when two runs write the same rows at once.
_TRANSACTION_RETRIES = 10

Connection: TypeAlias = proto.ConnectionConfig | proto.MetadataStoreClientConfig


def connection_config(url: str, environment: Mapping[str, str] = os.environ) -> Connection:
    """Makes the connection that a URL describes.

    Args:
        url: mysql://HOST[:PORT]/DATABASE, postgresql://HOST[:PORT]/DATABASE[?sslmode=MODE] (as
            libpq's) or grpc://HOST[:PORT] of an ML Metadata server.
        environment: Holds METADATA_USERNAME and METADATA_PASSWORD for the first two.

    Returns:
        For `ml_metadata.MetadataStore` and `tfx.orchestration.metadata.Metadata`.

    Raises:
        MetadataError: Another kind of URL, or no user in the environment.
    """
    parts = urllib.parse.urlsplit(url)
    host, database = parts.hostname or "", parts.path.strip("/")
    if parts.scheme not in _PORTS or not host:
        raise MetadataError(
            f"The metadata URL {url!r} is not one of mysql://HOST[:PORT]/DATABASE, "
            "postgresql://HOST[:PORT]/DATABASE or grpc://HOST[:PORT]."
        )
    port = parts.port or _PORTS[parts.scheme]
    if parts.scheme == "grpc":
        return proto.MetadataStoreClientConfig(host=host, port=port)
    if not environment.get(USERNAME):
        raise MetadataError(
            f"{url} needs the environment variables {USERNAME} and {PASSWORD}. In the cluster they "
            "come from the Secret that [kubeflow] metadata_secret names."
        )
    user, password = environment[USERNAME], environment.get(PASSWORD, "")
    config = proto.ConnectionConfig()
    config.retry_options.max_num_retries = _TRANSACTION_RETRIES
    if parts.scheme == "mysql":
        config.mysql.MergeFrom(
            proto.MySQLDatabaseConfig(
                host=host, port=port, database=database, user=user, password=password
            )
        )
        return config
    config.postgresql.MergeFrom(
        proto.PostgreSQLDatabaseConfig(
            host=host, port=str(port), dbname=_quoted(database), user=_quoted(user),
            password=_quoted(password), skip_db_creation=True,
        )
    )  # fmt: skip
    if mode := dict(urllib.parse.parse_qsl(parts.query)).get("sslmode"):
        config.postgresql.ssloption.sslmode = mode
    return config


def _quoted(value: str) -> str:
    """As libpq's connection strings need it; MLMD pastes the values in unchanged."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def connect_store(url: str, *, patience: float = 60) -> mlmd.MetadataStore:
    """Connects to the database, and makes its tables when it is new.

    Args:
        url: See `connection_config`.
        patience: Seconds to go on trying: a database may be starting, and of two runs that make
            the tables at once only one succeeds at first.

    Raises:
        MetadataError: It cannot be reached, or does not let this user in.
    """
    config = connection_config(url)
    deadline = time.monotonic() + patience
    while True:
        try:
            store = make_store(config)
            store.get_context_types()  # an ML Metadata server is not contacted before
            return store
        except (RuntimeError, mlmd.errors.StatusError) as error:
            if time.monotonic() > deadline:
                raise MetadataError(
                    f"The metadata database {url} cannot be used: {error}. Check that it runs, "
                    "that this machine or pod can reach it (network policy), and the user and "
                    f"password in {USERNAME} and {PASSWORD}; in the cluster they come from the "
                    "Secret that [kubeflow] metadata_secret names."
                ) from error
            logging.warning("The metadata database %s is not ready: %s", url, error)
            time.sleep(1 + random.random())


def local_connection(config: Config, *, readonly: bool) -> proto.ConnectionConfig:
    """The connection to the SQLite file of a local pipeline."""
    result = proto.ConnectionConfig()
    result.sqlite.filename_uri = config.pipeline.metadata
    if readonly:
        result.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READONLY
    return result


def open_store(config: Config, *, readonly: bool) -> mlmd.MetadataStore:
    """Opens the metadata database of a pipeline that has run.

    Args:
        config: The pipeline, here or in the cluster (`pipeline.config.cluster_config`).
        readonly: Nothing will be written: a SQLite file needs no right to write then. A server
            knows no such connection.

    Raises:
        NotRunError: It has not run yet.
        MetadataError: The database cannot be used.
    """
    store = None
    if config.in_cluster:
        store = connect_store(config.database, patience=0)
    elif Path(config.database).exists():
        check_database(config.database, write=not readonly)
        store = mlmd.MetadataStore(local_connection(config, readonly=readonly))
    if store is None or not has_run(store, config.pipeline.name):
        raise NotRunError(
            f"Pipeline {config.pipeline.name!r} has not run yet: nothing in {config.database}."
        )
    return store
