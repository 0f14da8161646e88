"""The images that a command line names: files, and folders with all that is below them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from modules.runtime import shown
from modules.storage import is_remote, list_names, path_exists, read_bytes, walk_files
from pipeline.runtime import ConfigError

BATCH = 256  # images in memory at once


class ImageFile(NamedTuple):
    """A file that was read: its content, or why there is none."""

    path: str
    content: bytes
    fault: str | None = None


def find_images(paths: Sequence[str]) -> list[str]:
    """Lists images: a file as it is named, of a folder those with the ending of an image.

    Names that begin with a dot, and what is below such folders, do not count.

    Args:
        paths: Local, or URIs.

    Raises:
        ConfigError: Something is not there, or a folder has no image.
    """
    found: list[str] = []
    for path in paths:
        if not path_exists(path):
            raise ConfigError(f"There is no {shown(path)}. Name a file or a folder of images.")
        found += _below(path) if _is_folder(path) else [path]
    return found


def _below(folder: str) -> list[str]:
    from components.image_example_gen import SUFFIXES

    images = [
        f"{folder.rstrip('/')}/{path}"
        for path in walk_files(folder)
        if path.lower().endswith(SUFFIXES)
        and not any(part.startswith(".") for part in path.split("/"))
    ]
    if not images:
        raise ConfigError(
            f"There is no image in {shown(folder)}: no file in it or below it ends in "
            f"{', '.join(SUFFIXES)}."
        )
    return images


def _is_folder(path: str) -> bool:
    return bool(list_names(path)) if is_remote(path) else Path(path).is_dir()


def read_image(path: str) -> ImageFile:
    """Reads a file; what cannot be read is a fault and no error."""
    from components.image_example_gen import FileFaultError, check_regular

    try:
        check_regular(path)
        return ImageFile(path, read_bytes(path))
    except FileFaultError as error:
        return ImageFile(path, b"", str(error))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return ImageFile(path, b"", f"the file cannot be read ({reason})")


def read_in_batches(paths: Iterable[str], size: int = BATCH) -> Iterator[list[ImageFile]]:
    """Reads files, so many at once."""
    batch: list[ImageFile] = []
    for path in paths:
        batch.append(read_image(path))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
