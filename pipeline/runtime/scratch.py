"""The folder for temporary files of a run: its own, so that nothing of it stays."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Config

_VARIABLE = "TMPDIR"


def scratch_path(config: Config) -> Path:
    """`DIRECTORY/NAME/tmp`, which is there while a run goes on, and after one that was killed."""
    return Path(config.pipeline.directory) / config.pipeline.name / "tmp"


@contextlib.contextmanager
def own_scratch(config: Config) -> Iterator[Path]:
    """Sends temporary files of this process, and of those it starts, to the pipeline's own folder.

    TFX and Beam make folders for temporary files and remove some of them. The whole folder goes
    at the end, and before: a run that was killed has left it.

    Args:
        config: The pipeline, whose lock must be held.

    Yields:
        The folder, empty.
    """
    path = scratch_path(config)
    _remove(path)
    path.mkdir(parents=True)
    before = os.environ.get(_VARIABLE), tempfile.tempdir
    os.environ[_VARIABLE] = tempfile.tempdir = str(path)
    try:
        yield path
    finally:
        os.environ.pop(_VARIABLE, None)
        if before[0] is not None:
            os.environ[_VARIABLE] = before[0]
        tempfile.tempdir = before[1]
        _remove(path)


def _remove(path: Path) -> None:
    """Removes the folder; what cannot be removed is said, and is no reason to end a run."""
    if path.is_symlink():  # not ours, and what it points to neither
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=lambda _, name, info: _complain(name, info[1]))


def _complain(name: str, error: BaseException) -> None:
    logging.getLogger(__name__).warning("%s cannot be removed: %s", name, error)
