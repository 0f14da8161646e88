"""Whether the SQLite file of a local pipeline can be used, told before ML Metadata tries.

ML Metadata waits minutes for a lock, and its errors name neither the file nor what to do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from pathlib import Path

from pipeline.runtime import MetadataError

_PATIENCE = 10.0  # seconds that another process may hold the database
_HEADER = b"SQLite format 3\0"


def check_database(
    path: str, *, write: bool, whole: bool = True, patience: float = _PATIENCE
) -> None:
    """Looks whether a database can be read, and written to if asked.

    Args:
        path: Of the file; one that is not there is no fault.
        write: Whether it must be writable.
        whole: Whether all of it is read, to find damage.
        patience: Seconds to wait while another process holds it.

    Raises:
        MetadataError: It is no database, is damaged, cannot be opened, or stays locked.
    """
    file = Path(path)
    if not os.path.lexists(file):
        return
    try:
        with file.open("rb") as opened:
            begins = opened.read(len(_HEADER))
    except OSError as error:
        raise MetadataError(
            f"The metadata database {path} cannot be read: {error.strerror}. Give this user the "
            "right to read it, or correct [pipeline] directory."
        ) from error
    if not begins:
        _check_new(file)
        return
    if begins != _HEADER:
        raise MetadataError(f"The metadata database {path} is no SQLite database. {_restore(file)}")
    if write and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        raise MetadataError(
            f"The metadata database {path} cannot be written to, so nothing can run. Give this "
            "user the right to write the file and its folder, or name another [pipeline] directory."
        )
    try:
        _ask(file, write=write, whole=whole, patience=patience)
    except sqlite3.Error as error:
        raise MetadataError(_explained(file, error, patience)) from error


def _ask(file: Path, *, write: bool, whole: bool, patience: float) -> None:
    # What a killed process has left half is put right by the first one that may write.
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    mode = "rw" if writable else "ro"
    address = f"file:{urllib.parse.quote(str(file))}?mode={mode}"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None)
    ) as database:
        if write:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        database.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        faults = database.execute("PRAGMA quick_check(1)").fetchall() if whole else []
        if faults not in ([], [("ok",)]):
            raise sqlite3.DatabaseError(faults[0][0])


def _explained(file: Path, error: sqlite3.Error, patience: float) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        holders = _holders(file)
        who = f"the process {', '.join(map(str, holders))}" if holders else "another process"
        return (
            f"The metadata database {file} is locked: {who} has held it for more than "
            f"{patience:g} s. Wait until it has ended, or end it; a tool that shows databases may "
            "hold it too."
        )
    if "readonly" in text:
        return (
            f"The metadata database {file} cannot be written to: {text}. Give this user the right "
            "to write the file and its folder, or name another [pipeline] directory."
        )
    return f"The metadata database {file} is damaged: {text.splitlines()[0]}. {_restore(file)}"


def _check_new(file: Path) -> None:
    """An empty file is a database that is new, unless there is what an older one has described."""
    made = [path.name for path in (file.parent / "artifacts").glob("*") if path.is_dir()]
    if made:
        raise MetadataError(
            f"The metadata database {file} is empty, although {file.parent / 'artifacts'} holds "
            f"what runs have made. {_restore(file)}"
        )


def _restore(file: Path) -> str:
    return (
        "Put a copy of it back, or move it aside to begin a new history; what is served stays in "
        f"{file.parent / 'serving'}."
    )


def _holders(file: Path) -> list[int]:
    """Processes of this user, but this one, that have the file open, as Linux tells it."""
    found = set()
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if handle.readlink() == file.resolve():
                found.add(int(handle.parts[2]))
    return sorted(found - {os.getpid()})
