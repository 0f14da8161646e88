"""The images with a doubtful label: the file of their ids, beside `audit.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from modules.storage import read_text, write_file

SUSPECTS_FILE = "suspects.json"


def write_suspects(uri: str, ids: Iterable[str]) -> None:
    """Writes the ids into the folder of DataAudit's `audit`."""
    write_file(f"{uri}/{SUSPECTS_FILE}", json.dumps(sorted(ids), indent=0).encode())


def read_suspects(uri: str) -> frozenset[bytes]:
    """Reads the ids, by the uri of DataAudit's `audit`.

    Raises:
        OSError: There is no such file.
    """
    return frozenset(one.encode() for one in json.loads(read_text(f"{uri}/{SUSPECTS_FILE}")))
