"""The folders that a run needs, looked at before its first node."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from modules.settings import PRESET
from pipeline.config import Config
from pipeline.runtime.errors import ConfigError, NoDataError

_NAMED_WEIGHTS = ("none", "imagenet", PRESET)  # else it is a path


def check_places(config: Config) -> None:
    """Makes sure that the data is there, and that what a run makes can be written.

    Object stores are left to the nodes.

    Raises:
        ConfigError: A folder is missing, cannot be listed or cannot be written to, or a file that
            the configuration names cannot be read.
        NoDataError: The folder of the data is empty.
    """
    read = {"[data] path": config.data.path, "[index] path": config.index.own_gallery}
    for key, folder in read.items():
        if folder and "://" not in folder:
            _check_readable(Path(folder), key)
    for key, file in _named_files(config).items():
        if "://" not in file:
            _check_file(Path(file), key)
    made = {
        "[pipeline] directory": f"{config.pipeline.directory}/{config.pipeline.name}",
        "[pipeline] serving": config.pipeline.serving_directory,
    }
    for key, folder in made.items():
        if "://" not in folder:
            check_writable(Path(folder), key)


def _named_files(config: Config) -> dict[str, str]:
    """The files that nodes read, by the key that names them."""
    files = {}
    if config.data.schema_file not in ("contract", "inferred"):
        files["[data] schema_file"] = config.data.schema_file
    if config.model.weights not in _NAMED_WEIGHTS:
        files["[model] weights"] = config.model.weights
    return files


def _check_file(file: Path, key: str) -> None:
    try:
        with file.open("rb") as opened:
            found = bool(opened.read(1))
    except OSError as error:
        raise ConfigError(
            f"The file {file} ({key}) cannot be read: {error.strerror}. Correct the path, or mount "
            "its disk."
        ) from error
    if not found:
        raise ConfigError(f"The file {file} ({key}) is empty. Put the right one there.")


def _check_readable(folder: Path, key: str) -> None:
    if not folder.exists():
        raise ConfigError(
            f"There is no folder {folder} ({key}), so there are no images. Mount its disk, or "
            "correct the path."
        )
    if not folder.is_dir():
        raise ConfigError(f"{folder} ({key}) is no folder. Name the folder of the images.")
    try:
        with os.scandir(folder) as entries:
            is_empty = next(entries, None) is None
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} ({key}) cannot be listed: {error.strerror}. Give this user the "
            "right to read it, or mount its disk again."
        ) from error
    if is_empty:
        raise NoDataError(
            f"The folder {folder} ({key}) is empty, as a place is where no disk is mounted. "
            "Mount its disk, or put the images there."
        )


def check_writable(folder: Path, key: str) -> None:
    """Makes a folder, and a file in it that goes at once.

    Args:
        folder: Local.
        key: The key of the configuration that names it.

    Raises:
        ConfigError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} ({key}) cannot be written to: {error.strerror}. Give this user "
            "the right to write there, make room, or name another folder."
        ) from error
