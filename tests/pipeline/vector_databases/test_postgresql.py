"""What only PostgreSQL has: transactions, rights, locks. Vectors are arrays; see conftest.py."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import pipeline.vector_databases.postgresql_session as postgresql_session
from pipeline.vector_databases import (
    PGVECTOR,
    PostgresqlDatabase,
    VectorDatabaseError,
)
from tests.pipeline.vector_databases.conftest import Connect
from tests.pipeline.vector_databases.reading import (
    ALIAS,
    ARRAYS,
    InPostgresql,
    make_version,
    push,
    rows_of,
)


@pytest.fixture
def reader(connect: Connect) -> InPostgresql:
    return InPostgresql(connect(), ARRAYS)


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    """Two models; the gallery of the second has two images more."""
    return [
        make_version(tmp_path / "1", b"one", images=5),
        make_version(tmp_path / "2", b"two", images=7),
    ]


def test_no_reader_sees_two_models(reader: InPostgresql, connect: Connect, versions) -> None:
    database, other = reader.database(), connect()
    known = {}
    for version in versions:
        facts = push(version, database).facts
        known[facts.model] = facts.images
    assert sorted(known.values()) == [5, 7]
    seen, ended = [], threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(other.run(f"SELECT model, count(*) FROM {ALIAS} GROUP BY model"))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(20):
            assert push(versions[number % 2], database).loaded == 0
    finally:
        ended.set()
        thread.join()
    assert seen
    assert all(len(rows) == 1 for rows in seen)
    assert {(model, count) for rows in seen for model, count in rows} <= set(known.items())


@pytest.mark.parametrize("dimension", [8, 12])
def test_who_may_read_the_view_still_may(
    reader: InPostgresql, versions, dimension: int, tmp_path: Path
) -> None:
    """The view is replaced where its columns stay, and made anew where a type changes."""
    database, run = reader.database(), reader.connection.run
    push(versions[0], database)
    run('DROP ROLE IF EXISTS "Bird watcher"')
    run('CREATE ROLE "Bird watcher"')
    run(f'GRANT SELECT ON {ALIAS} TO "Bird watcher", PUBLIC')
    push(make_version(tmp_path / "3", b"three", images=5, dimension=dimension), database)
    granted = run(
        "SELECT grantee FROM information_schema.role_table_grants WHERE table_name = :name "
        "AND table_schema = current_schema() AND privilege_type = 'SELECT'",
        name=ALIAS,
    )
    assert {"Bird watcher", "PUBLIC"} <= {grantee for (grantee,) in granted}
    run('DROP OWNED BY "Bird watcher"')
    run('DROP ROLE "Bird watcher"')


def test_one_push_at_a_time(reader: InPostgresql, connect: Connect, versions) -> None:
    second = PostgresqlDatabase(connect(), "server", ARRAYS)
    with (
        reader.database().alone(ALIAS),
        pytest.raises(VectorDatabaseError, match="Another push to birds in server goes on"),
    ):
        push(versions[0], second)
    assert push(versions[0], second).loaded == 5


def test_a_process_that_was_killed_leaves_whole_batches(
    reader: InPostgresql, connect: Connect, tmp_path: Path
) -> None:
    """Its lock is gone with its connection, and so is the batch that was on its way."""
    version = make_version(tmp_path / "7", b"one")

    class Dying(PostgresqlDatabase):
        def add(self, facts, batch) -> None:
            if batch.first:
                connection.run("START TRANSACTION")
            super().add(facts, batch)
            if batch.first:
                os._exit(9)

    child = os.fork()
    if not child:
        signal.alarm(60)  # ends it if it hangs
        connection = connect()
        push(version, Dying(connection, "server", ARRAYS))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    database = reader.database()
    for _ in range(100):  # the server notices the broken connection by itself
        try:
            done = push(version, database)
            break
        except VectorDatabaseError:
            time.sleep(0.05)
    assert done.loaded == 2500 - 1024
    assert reader.rows() == rows_of(version)


def test_a_session_that_keeps_reading_is_not_waited_for_for_ever(
    reader: InPostgresql, connect: Connect, versions, monkeypatch
) -> None:
    monkeypatch.setattr(postgresql_session, "LOCK_SECONDS", 1)
    database, other = reader.database(), connect()
    push(versions[0], database)
    other.run("START TRANSACTION")
    other.run(f"SELECT * FROM {ALIAS}")
    with pytest.raises(VectorDatabaseError, match="A session keeps reading it"):
        push(versions[1], database)
    assert reader.rows() == rows_of(versions[0])
    other.run("COMMIT")
    assert push(versions[1], database).loaded == 0
    assert reader.rows() == rows_of(versions[1])


def test_a_server_without_pgvector_says_what_to_install(reader: InPostgresql, versions) -> None:
    run = reader.connection.run
    if run("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this PostgreSQL has pgvector")
    with pytest.raises(VectorDatabaseError, match=r"has no pgvector.*postgresql-15-pgvector"):
        push(versions[0], PostgresqlDatabase(reader.connection, "server", PGVECTOR))
    assert run("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()") == []


def test_an_extension_that_an_administrator_must_make(reader: InPostgresql, versions) -> None:
    """`pageinspect` stands for pgvector: PostgreSQL brings it, and not everybody may make it."""
    reader.connection.run("CREATE ROLE guest")
    vector = dataclasses.replace(ARRAYS, extension="pageinspect")
    available = "SELECT 1 FROM pg_available_extensions WHERE name = 'pageinspect'"
    if not reader.connection.run(available):
        pytest.skip("this PostgreSQL has no contributed extensions")
    try:
        reader.connection.run("SET ROLE guest")
        with pytest.raises(VectorDatabaseError, match=r"permission denied.*let an administrator"):
            push(versions[0], PostgresqlDatabase(reader.connection, "server", vector))
    finally:
        reader.connection.run("RESET ROLE")
        reader.connection.run("DROP ROLE guest")


def test_more_components_than_the_type_takes(reader: InPostgresql, tmp_path: Path) -> None:
    version = make_version(tmp_path / "1", b"one", images=2, dimension=101)
    with pytest.raises(VectorDatabaseError, match=r"at most 100 components.*has 101.*embedding"):
        push(version, reader.database())


def test_vectors_of_another_size_are_refused_by_the_server(reader: InPostgresql, versions) -> None:
    """The message is the server's, with the place and no value of a row."""
    database = reader.database()
    done = push(versions[0], database)
    reader.connection.run(
        f"ALTER TABLE {done.collection} ADD CHECK (array_length(vector, 1) = 9) NOT VALID"
    )
    reader.remove_rows(done.collection, 0, 5)
    with pytest.raises(VectorDatabaseError, match=r"PostgreSQL at server: .*violates") as error:
        push(versions[0], database)
    assert "id-0000" not in str(error.value)


def test_a_view_that_others_made_is_left_alone(reader: InPostgresql, versions) -> None:
    reader.connection.run(f"CREATE VIEW {ALIAS} AS SELECT 1 AS one")
    with pytest.raises(VectorDatabaseError, match=r"was not made by this command.*--name"):
        push(versions[0], reader.database())
    assert reader.connection.run(f"SELECT * FROM {ALIAS}") == [[1]]
