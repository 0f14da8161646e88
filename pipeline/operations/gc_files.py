"""Folders of a pipeline root: which belong to an artifact, and which were left behind.

TFX keeps the output KEY of execution ID of a node in `NODE/KEY/ID`, what it needs while a node runs
in `NODE/.system`. Trainers keep checkpoints in `Trainer/model_run/checkpoints`. Anything else in
the root is left alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

LEFTOVER_AGE = 24 * 3600.0  # seconds; what a killed run left may be wanted by the next attempt
CHECKPOINTS, SYSTEM = "checkpoints", ".system"


def output_folder(root: Path, uri: str) -> Path | None:
    """`NODE/KEY/ID` of an artifact below the root; None for one that is kept elsewhere."""
    if not Path(uri).is_relative_to(root):
        return None
    parts = Path(uri).relative_to(root).parts
    if ".." in parts or len(parts) < 3 or not parts[2].isdecimal():
        return None
    return root.joinpath(*parts[:3])


def output_folders(root: Path) -> Iterator[Path]:
    """All `NODE/KEY/ID` there are."""
    for node in _folders(root):
        for key in _folders(node):
            if key.name != SYSTEM:
                yield from (path for path in _folders(key) if path.name.isdecimal())


def temporary(root: Path) -> Iterator[Path]:
    """Checkpoints, and working folders of nodes."""
    for node in _folders(root):
        for key in _folders(node):
            for folder in _folders(key):
                if key.name == SYSTEM or folder.name == CHECKPOINTS:
                    yield from _folders(folder)


def is_old(path: Path) -> bool:
    """Whether nothing in it was written for `LEFTOVER_AGE`."""
    newest = max((found.st_mtime for found in _walk(path)), default=0.0)
    return time.time() - newest > LEFTOVER_AGE


def size(path: Path) -> int:
    """Bytes of all files in it; 0 when it is gone."""
    return sum(found.st_size for found in _walk(path) if not stat.S_ISDIR(found.st_mode))


def _walk(path: Path) -> Iterator[os.stat_result]:
    """What there is, without what a run at work removes meanwhile."""
    for folder, _, files in os.walk(path):
        for found in (Path(folder), *(Path(folder) / name for name in files)):
            with contextlib.suppress(FileNotFoundError):
                yield found.lstat()
    if path.is_file():
        yield path.lstat()


def _folders(path: Path) -> list[Path]:
    """Subfolders; a link is none, for what it points to is not ours."""
    if not path.is_dir():
        return []
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.is_symlink())
