"""Which files a pattern finds, whatever their names are and whatever is wrong with them."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator

import tensorflow as tf

from modules.runtime import shown

ANY_DEPTH = "**"  # the pattern of all files below a folder
_NO_FOLDER = (errno.ENOTDIR, errno.ENOENT)


def list_files(base: str, pattern: str) -> list[str]:
    """Lists all that a pattern finds below a folder, sorted.

    On this machine `base` is taken literally. Links to nothing, pipes and folders are found like
    files. Bytes of a name that are no UTF-8 become surrogates, as everywhere in Python.

    Args:
        base: Root folder, local or a URI.
        pattern: Glob below it: `*`, `?` and `[…]` match within a name. `**` alone stands for every
            file at any depth, but for hidden folders.

    Returns:
        Paths that begin with `base`.

    Raises:
        ValueError: A folder that the pattern finds cannot be listed; the message names it.
    """
    root = os.path.join(base, "")  # noqa: PTH118 — may be a URI
    if pattern == ANY_DEPTH:
        return sorted(_walk(root))
    if "://" in base:
        return sorted(tf.io.gfile.glob(root + pattern))
    pattern = pattern.replace("[^", "[!")  # as TensorFlow negates, and as Python does
    parts = pattern.split("/")
    for depth in range(1, len(parts)):
        for folder in _glob("/".join(parts[:depth]), root):
            _check_listed(os.path.join(root, folder))  # noqa: PTH118
    return [os.path.join(root, name) for name in sorted(_glob(pattern, root))]  # noqa: PTH118


def fingerprint(split: str, base: str, pattern: str) -> str:
    """Number, sizes and times of the files that a pattern finds, as text.

    As `tfx.utils.io_utils.generate_fingerprint`, but files that cannot be looked at count too.
    """
    files = list_files(base, pattern)
    total, xor, added = 0, 0, 0
    for file in files:
        size, seconds = _size_and_time(file)
        total, xor, added = total + size, xor ^ seconds, added + seconds
    return (
        f"split:{split},num_files:{len(files)},total_bytes:{total},"
        f"xor_checksum:{xor},sum_checksum:{added}"
    )


def _size_and_time(file: str) -> tuple[int, int]:
    """Bytes and seconds; 0 of what cannot be looked at, such as a link to nothing."""
    if "://" in file:
        remote = tf.io.gfile.stat(file)
        return remote.length, remote.mtime_nsec // 1_000_000_000
    try:
        found = os.stat(file)  # noqa: PTH116
    except OSError:
        return 0, 0
    return found.st_size, int(found.st_mtime)


def _walk(root: str) -> Iterator[str]:
    """Every file below a folder; links to folders are followed, each folder once."""
    if "://" in root:
        for folder, folders, names in tf.io.gfile.walk(root.rstrip("/")):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (f"{folder.rstrip('/')}/{name}" for name in names)
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=_not_listed, followlinks=True):
        found = os.stat(folder)  # noqa: PTH116 — any bytes
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118


def _glob(pattern: str, root: str) -> list[str]:
    """Below a folder of this machine, hidden names too."""
    return glob.glob(pattern, root_dir=root, include_hidden=True)  # noqa: PTH207 — not its order


def _check_listed(folder: str) -> None:
    """Raises ValueError if a folder, or a link that should be one, cannot be listed."""
    is_link = os.path.islink(folder)  # noqa: PTH114 — any bytes
    if os.path.basename(folder).startswith("."):  # noqa: PTH119
        return
    try:
        os.scandir(folder).close()
    except OSError as error:
        if error.errno in _NO_FOLDER and not is_link:
            return
        if error.errno == errno.ENOTDIR:  # a link to a file
            return
        error.filename = folder
        _not_listed(error)


def _not_listed(error: OSError) -> None:
    raise ValueError(
        f"The folder {shown(error.filename)} cannot be listed ({error.strerror}), so its images "
        "would be missing without a word. Give this user the right to read it, or remove it."
    ) from error
