"""The connection to the metadata database, on real servers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config.paths import PROJECT
from pipeline.metadata import (
    PASSWORD,
    USERNAME,
    connect_store,
    connection_config,
    find_execution,
    mark_failed,
)
from pipeline.runtime import MetadataError
from tests import databases

CREDENTIALS = {USERNAME: databases.USER, PASSWORD: databases.PASSWORD}


OPEN = (
    "import sys; from pipeline.metadata.connection import connect_store; connect_store(sys.argv[1])"
)


def test_two_runs_make_the_tables_of_a_new_database_at_once(metadata_url) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, metadata_url],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outcomes = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in outcomes] == [0, 0, 0], outcomes


def test_finds_the_execution_of_a_node_in_a_run_and_marks_it(metadata_url) -> None:
    store = connect_store(metadata_url)
    assert find_execution(store, "digits", "run-1", "Trainer") is None
    kinds = {
        name: store.put_context_type(proto.ContextType(name=name))
        for name in ("pipeline_run", "node")
    }
    kind = store.put_execution_type(proto.ExecutionType(name="Trainer"))
    made = {}
    for run in ("run-1", "run-2"):
        for node in ("digits.Trainer", "digits.Pusher", "other.Trainer"):
            execution = proto.Execution(type_id=kind, last_known_state=proto.Execution.RUNNING)
            contexts = [
                proto.Context(type_id=kinds["pipeline_run"], name=run),
                proto.Context(type_id=kinds["node"], name=node),
            ]
            made[run, node], _, _ = store.put_execution(
                execution, [], contexts, reuse_context_if_already_exist=True
            )
    found = find_execution(store, "digits", "run-2", "Trainer")
    assert found is not None
    assert found.id == made["run-2", "digits.Trainer"]
    mark_failed(store, found, "no memory")
    again = find_execution(store, "digits", "run-2", "Trainer")
    assert again.last_known_state == proto.Execution.FAILED
    assert again.custom_properties["error"].string_value == "no memory"
    assert find_execution(store, "digits", "run-1", "Trainer").last_known_state == (
        proto.Execution.RUNNING
    )


def test_a_wrong_password_says_where_to_look(metadata_url, monkeypatch) -> None:
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(MetadataError, match=r"cannot be used: .*metadata_secret names") as error:
        connect_store(metadata_url, patience=0)
    assert "wrong" not in str(error.value)


def test_nobody_listens() -> None:
    with pytest.raises(MetadataError, match="Check that it runs"):
        connect_store("grpc://127.0.0.1:1", patience=0)


def test_urls() -> None:
    config = connection_config("postgresql://db/x?sslmode=require", CREDENTIALS)
    assert config.postgresql.port == "5432"
    assert config.postgresql.ssloption.sslmode == "require"
    # Quoted for libpq; the test above shows that the server takes it.
    assert config.postgresql.password == r"'it\'s not a \\secret'"
    config = connection_config("mysql://db:33/x", CREDENTIALS)
    assert config.mysql.password == databases.PASSWORD
    assert (config.mysql.host, config.mysql.port, config.mysql.database) == ("db", 33, "x")
    config = connection_config("grpc://metadata", {})
    assert (config.host, config.port) == ("metadata", 8080)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///x", "is not one of mysql://"),
        ("postgresql:///x", "is not one of"),
        ("postgresql://db/x", "needs the environment variables METADATA_USERNAME"),
    ],
)
def test_what_is_no_connection(url: str, message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        connection_config(url, {})
