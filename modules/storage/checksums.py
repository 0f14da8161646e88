"""Whether files are still what they were: their SHA-256, kept in a file beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from modules.storage.access import open_file, path_exists, read_bytes, walk_files

CHECKSUMS_FILE = "checksums.json"
_PIECE = 1 << 22  # bytes


def sum_files(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 in hexadecimal digits of files.

    Args:
        files: Where each is, by its name.

    Returns:
        By name, sorted.

    Raises:
        OSError: A file cannot be read.
    """
    return {name: _sha256(files[name]) for name in sorted(files)}


def checksums_text(sums: Mapping[str, str]) -> str:
    """What `CHECKSUMS_FILE` holds."""
    return json.dumps(dict(sums), indent=1) + "\n"


def find_damage(folder: str) -> list[str]:
    """Compares a folder with the checksums in it.

    Args:
        folder: Local, or a URI that TensorFlow reads.

    Returns:
        A sentence part for each file that is missing, has changed or cannot be read, such as
        `saved_model.pb has changed`; none for a folder without checksums.
    """
    base = folder.rstrip("/")
    path = f"{base}/{CHECKSUMS_FILE}"
    if not path_exists(path):
        return []
    try:
        wanted = dict(json.loads(read_bytes(path)))
    except (OSError, ValueError, TypeError):
        return [f"{CHECKSUMS_FILE} cannot be read"]
    return compare_checksums(wanted, {name: f"{base}/{name}" for name in walk_files(base)})


def compare_checksums(wanted: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """Compares files with their checksums.

    Args:
        wanted: Checksums by name.
        files: Where the files are, by name; more than are wanted may be there.

    Returns:
        As `find_damage`.
    """
    faults = []
    for name, expected in sorted(wanted.items()):
        if name not in files:
            faults.append(f"{name} is missing")
            continue
        try:
            if _sha256(files[name]) != expected:
                faults.append(f"{name} has changed")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror})")
    return faults


def _sha256(path: str) -> str:
    found = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
