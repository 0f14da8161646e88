"""Reads files: local ones without TensorFlow, which takes seconds to load, others by it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any


def is_remote(path: str) -> bool:
    """Whether only TensorFlow reads the path, as `gs://bucket/file`."""
    return "://" in path


def open_file(path: str) -> AbstractContextManager[IO[bytes]]:
    """Opens a file to read its bytes.

    Raises:
        OSError: It cannot be opened.
    """
    return _gfile().GFile(path, "rb") if is_remote(path) else Path(path).open("rb")


def read_bytes(path: str) -> bytes:
    """Reads a whole file.

    Raises:
        FileNotFoundError: There is none.
    """
    if is_remote(path) and not path_exists(path):
        raise FileNotFoundError(path)
    with open_file(path) as file:
        return file.read()


def path_exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return bool(_gfile().exists(path)) if is_remote(path) else Path(path).exists()


def list_names(folder: str) -> list[str]:
    """Names of what a folder holds, sorted; none if it is not there."""
    if is_remote(folder):
        found = _gfile().listdir(folder) if _gfile().isdir(folder) else []
        return sorted(name.rstrip("/") for name in found)
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).is_dir() else []


def file_sizes(folder: str) -> dict[str, int]:
    """Size in bytes of every file below a folder, by its path from there."""
    base = folder.rstrip("/")
    return {path: _size(f"{base}/{path}") for path in walk_files(base)}


def walk_files(folder: str) -> list[str]:
    """Every file below a folder by its path from there, links and pipes too, sorted."""
    base = folder.rstrip("/")
    walk = _gfile().walk(base) if is_remote(base) else os.walk(base)
    paths = (f"{place.rstrip('/')}/{name}" for place, _, found in walk for name in found)
    return sorted(path.removeprefix(base + "/") for path in paths)


def _size(path: str) -> int:
    return int(_gfile().stat(path).length) if is_remote(path) else Path(path).stat().st_size


def _gfile() -> Any:
    import tensorflow as tf  # takes seconds to load

    return tf.io.gfile
