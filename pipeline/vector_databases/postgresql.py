"""A gallery in PostgreSQL with pgvector: a table with a comment, and a view that stands for it.

| column    | holds                                                                         |
|-----------|-------------------------------------------------------------------------------|
| `row`     | of the gallery; the primary key, so that sending it again changes nothing     |
| `id`      | text                                                                          |
| `label`   | text; NULL for an image without one                                           |
| `columns` | jsonb: further columns                                                        |
| `vector`  | `vector(D)`; `vector <-> query` is the L2 distance, whose square is used here |

The view has these columns and `model`, the fingerprint of the model. A query reads both at one
moment, so its rows are of one model, and it says of which.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.vector_databases.collection import Facts, Stored, VectorDatabaseError, read_facts
from pipeline.vector_databases.gallery import Batch
from pipeline.vector_databases.postgresql_session import Session, literal, quoted
from pipeline.vector_databases.times import now
from pipeline.vector_databases.vector_types import PGVECTOR, VectorType

if TYPE_CHECKING:
    import pg8000.native

_STATEMENT_BYTES = 8_000_000
_COMPONENT_BYTES = 22  # of text


class PostgresqlDatabase:
    """Implements `Database`.

    Args:
        connection: Its tables are made in the first schema of its search path.
        place: Where it is, for messages.
        vector: How vectors are kept.
    """

    def __init__(
        self, connection: pg8000.native.Connection, place: str, vector: VectorType = PGVECTOR
    ) -> None:
        self._session = Session(connection, place)
        self.place = place
        self._vector = vector

    @contextlib.contextmanager
    def alone(self, alias: str) -> Iterator[None]:
        """A lock that ends with the session, also where the command is killed."""
        key = f"index push {alias}"
        if not self._session.value(
            "SELECT pg_try_advisory_lock(hashtextextended(:key, 0))", key=key
        ):
            raise VectorDatabaseError(
                f"Another push to {alias} in {self.place} goes on. Wait until it has ended."
            )
        try:
            yield
        finally:
            with contextlib.suppress(VectorDatabaseError):  # the first fault is the one to see
                self._session.run("SELECT pg_advisory_unlock(hashtextextended(:key, 0))", key=key)

    def check(self, facts: Facts) -> None:
        """The extension, the number of components, and what has the names already."""
        self._check_extension()
        if facts.dimension > self._vector.most:
            raise VectorDatabaseError(
                f"{self.place} keeps at most {self._vector.most:,} components of a vector, and the "
                f"gallery has {facts.dimension:,}. Train with a smaller [model] embedding_dim."
            )
        kind = self._kind(facts.alias)
        if kind not in (None, "v"):
            raise VectorDatabaseError(
                f"{self.place} has something else named {facts.alias}, so no view can have this "
                "name. Give another one with --name."
            )
        if self._kind(facts.collection) and facts.collection not in {
            one.name for one in self.collections(facts.alias)
        }:
            raise VectorDatabaseError(
                f"The table {facts.collection} in {self.place} was not made by this command. "
                "Remove it, or give another --name."
            )

    def _check_extension(self) -> None:
        name = self._vector.extension
        if name is None or self._session.value(
            "SELECT 1 FROM pg_extension WHERE extname = :n", n=name
        ):
            return
        if not self._session.value("SELECT 1 FROM pg_available_extensions WHERE name = :n", n=name):
            raise VectorDatabaseError(
                f"{self.place} has no pgvector. Install it on the server (Debian: the package "
                "postgresql-15-pgvector, with the number of your PostgreSQL; or the image "
                "pgvector/pgvector), then run the command again."
            )
        try:
            self._session.run(f"CREATE EXTENSION IF NOT EXISTS {quoted(name)}")
        except VectorDatabaseError as error:
            raise VectorDatabaseError(
                f"{error} Or let an administrator run `CREATE EXTENSION {name}` in this database."
            ) from error

    def collections(self, alias: str) -> list[Stored]:
        """Tables whose comment names the alias."""
        rows = self._session.run(
            "SELECT c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY c.relname"
        )
        found = [(name, read_facts(comment)) for name, comment in rows]
        return [Stored(name, facts) for name, facts in found if facts and facts.alias == alias]

    def served(self, alias: str) -> str | None:
        """The table that the view reads, which its comment names."""
        if self._kind(alias) != "v":
            return None
        comment = self._session.value(
            "SELECT obj_description(to_regclass(:name), 'pg_class')", name=quoted(alias)
        )
        facts = read_facts(comment)
        if facts is None:
            raise VectorDatabaseError(
                f"The view {alias} in {self.place} was not made by this command. Give another "
                "name with --name."
            )
        return facts.collection

    def create(self, facts: Facts) -> None:
        """Table and comment appear together."""
        with self._session.transaction():
            self._session.run(
                f"CREATE TABLE {quoted(facts.collection)} (row bigint PRIMARY KEY, "
                "id text NOT NULL, label text, columns jsonb NOT NULL, "
                f"vector {self._vector.sql(facts.dimension)} NOT NULL)"
            )
            self._describe("TABLE", facts.collection, facts)

    def loaded(self, collection: str) -> int:
        """Numbers are distinct, so n rows from 0 to n−1 are all of these."""
        found = self._session.run(f"SELECT count(*), min(row), max(row) FROM {quoted(collection)}")
        count, first, last = found[0]
        return int(count) if (first, last) == (0, count - 1) else 0

    def batch_size(self, dimension: int) -> int:
        """As many as a statement holds in memory of both sides without harm."""
        return max(1, min(1024, _STATEMENT_BYTES // (_COMPONENT_BYTES * dimension)))

    def add(self, facts: Facts, batch: Batch) -> None:
        """One statement, all of it or nothing. COPY would know no rows that are there already."""
        sql = self._vector.sql(facts.dimension)
        self._session.run(
            f"INSERT INTO {quoted(facts.collection)} (row, id, label, columns, vector) "
            f"SELECT r, i, l, CAST(c AS jsonb), CAST(v AS {sql}) FROM unnest("
            "CAST(:rows AS bigint[]), CAST(:ids AS text[]), CAST(:labels AS text[]), "
            "CAST(:columns AS text[]), CAST(:vectors AS text[])) AS u(r, i, l, c, v) "
            "ON CONFLICT (row) DO NOTHING",
            rows=list(range(batch.first, batch.first + len(batch.ids))),
            ids=batch.ids,
            labels=batch.labels,
            columns=[json.dumps(columns) for columns in batch.columns],
            vectors=[self._vector.text(vector) for vector in batch.vectors],
        )

    def prepare(self, facts: Facts) -> None:
        """Builds the index, where the type has one for so many components."""
        table = quoted(facts.collection)
        if self._vector.index and facts.dimension <= self._vector.most_indexed:
            name = quoted(f"{facts.collection}_near")
            self._session.run(
                f"CREATE INDEX IF NOT EXISTS {name} ON {table} USING {self._vector.index}"
            )
        self._session.run(f"ANALYZE {table}")

    def count(self, collection: str) -> int:
        """Exact, not the server's estimate."""
        return int(self._session.value(f"SELECT count(*) FROM {quoted(collection)}"))

    def switch(self, facts: Facts) -> None:
        """Count, comments and view are one transaction; rights to read the view stay."""
        table, alias = quoted(facts.collection), quoted(facts.alias)
        known = facts.model_copy(update={"complete": True, "served": now()})
        view = (
            f"VIEW {alias} AS SELECT row, id, label, columns, vector, "
            f"CAST({literal(facts.model)} AS text) AS model FROM {table}"
        )
        with self._session.transaction():
            # Nobody writes between the count and the switch.
            self._session.run(f"LOCK TABLE {table} IN SHARE MODE")
            if self.loaded(facts.collection) != facts.images:
                raise VectorDatabaseError(
                    f"{facts.collection} in {self.place} does not hold the {facts.images:,} images "
                    "of the gallery any more. Run the command again."
                )
            if self._same_columns(facts):
                self._session.run(f"CREATE OR REPLACE {view}")
            else:
                readers = self._readers(facts.alias)
                self._session.run(f"DROP VIEW IF EXISTS {alias}")
                self._session.run(f"CREATE {view}")
                for reader in readers:
                    self._session.run(f"GRANT SELECT ON {alias} TO {reader}")
            self._describe("TABLE", facts.collection, known)
            self._describe("VIEW", facts.alias, known)

    def _same_columns(self, facts: Facts) -> bool:
        """Whether the view stays as it is but for the table, which PostgreSQL can replace."""
        types = [
            self._session.value(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = to_regclass(:name) AND attname = 'vector'",
                name=quoted(name),
            )
            for name in (facts.alias, facts.collection)
        ]
        return types[0] == types[1]

    def _readers(self, view: str) -> list[str]:
        """Who may read a view, as GRANT names them."""
        rows = self._session.run(
            "SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' "
            "ELSE CAST(CAST(a.grantee AS regrole) AS text) END "
            "FROM pg_class c, aclexplode(c.relacl) a "
            "WHERE c.oid = to_regclass(:name) AND a.privilege_type = 'SELECT'",
            name=quoted(view),
        )
        return [str(reader) for (reader,) in rows]

    def remove(self, collection: str) -> None:
        """Removes a table."""
        with self._session.transaction():
            self._session.run(f"DROP TABLE IF EXISTS {quoted(collection)}")

    def _kind(self, name: str) -> str | None:
        """What has a name in the schema where tables are made: `r` a table, `v` a view."""
        found = self._session.value(
            "SELECT c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = :name AND n.nspname = current_schema()",
            name=name,
        )
        return found if found is None else str(found)

    def _describe(self, kind: str, name: str, facts: Facts) -> None:
        self._session.run(f"COMMENT ON {kind} {quoted(name)} IS {literal(facts.model_dump_json())}")
