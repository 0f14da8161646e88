"""Statements of PostgreSQL: transactions, and faults as messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.vector_databases.collection import VectorDatabaseError

if TYPE_CHECKING:
    import pg8000.native

LOCK_SECONDS = 30  # to wait for readers before a table is switched or removed
# SQLSTATE → what to do.
_REMEDIES = {
    "55P03": "A session keeps reading it: end its transaction, then run the command again.",
    "57014": "The server ended the statement: raise statement_timeout of this user.",
    "53100": "The disk of the server is full: make room, then run the command again.",
    "42501": "Give the user of PGUSER the right to do it.",
    "2BP01": "Something else was made upon it: remove that first.",
}


class Session:
    """A connection whose faults name the place and what to do.

    Args:
        connection: In its own transaction for each statement.
        place: Where it is, for messages.
    """

    def __init__(self, connection: pg8000.native.Connection, place: str) -> None:
        self._connection = connection
        self._place = place

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none; it waits a limited time for readers."""
        self.run("START TRANSACTION")
        try:
            self.run(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            yield
            self.run("COMMIT")
        except BaseException:
            with contextlib.suppress(VectorDatabaseError):  # the first fault is the one to see
                self.run("ROLLBACK")
            raise

    def value(self, sql: str, **values: Any) -> Any:
        """The first value of the first row; None without a row."""
        rows = self.run(sql, **values)
        return rows[0][0] if rows else None

    def run(self, sql: str, **values: Any) -> list[list[Any]]:
        """Runs a statement; faults name the place and what to do, and no value of a row."""
        import pg8000.exceptions

        try:
            return self._connection.run(sql, **values) or []
        except pg8000.exceptions.DatabaseError as error:
            said = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
            message = said.get("M", str(error))
            remedy = _REMEDIES.get(said.get("C", ""), "Put that right, then run the command again.")
            raise VectorDatabaseError(
                f"PostgreSQL at {self._place}: {message}. {remedy}"
            ) from error
        except (pg8000.exceptions.Error, OSError) as error:
            raise VectorDatabaseError(
                f"The connection to PostgreSQL at {self._place} broke: {error}. What is loaded "
                "stays: run the command again."
            ) from error


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    import pg8000.native

    return str(pg8000.native.identifier(name))


def literal(text: str) -> str:
    """A text as it stands in a statement that takes no parameters."""
    import pg8000.native

    return str(pg8000.native.literal(text))
