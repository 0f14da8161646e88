"""How a model gets into a serving folder, so that a reader sees all of a version or nothing.

A reader such as TensorFlow Serving polls the folder and takes every subfolder whose name is a
number. So a model is copied to a hidden folder beside the versions, is forced to the disk, and gets
its number by one `rename`, which the file system does as a whole or not at all. Old versions leave
in the same way: renamed aside, then removed. A process that is killed leaves hidden folders only;
the next push removes them. Pushes at once, as two runs on Kubeflow can make them, wait for one
another at the file `.lock`.

Object stores (`gs://`) have no such rename. There the files are copied into the numbered folder,
`saved_model.pb` last, as TFX does; a reader that looks earlier finds no model in it and looks
again. A numbered folder without that file is what a killed push has left, or a killed removal,
which takes that file first; a later push removes it when nothing was written to it for a day, since
it may also be a push that goes on.

What belongs to a model but is no part of it, its *extras*, appears beside it with the same rename,
and so does `checksums.json`: by the path of each file its SHA-256, for those who use the version.
A text for people among the extras, the model card, makes no version of its own: servers load what
is new.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from absl import logging
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from modules.index import is_of_model
from modules.report import CARD_FILE
from modules.storage import CHECKSUMS_FILE, checksums_text, compare_checksums, sum_files

INCOMING = ".incoming-"
OUTGOING = ".outgoing-"
LOCK = ".lock"
TEXTS = (CARD_FILE,)
_LEFT_AFTER = 24 * 3600.0  # seconds without a change
_MODEL_FILE = "saved_model.pb"
_READ_BYTES = 1 << 22  # bytes
_LARGEST = 2**63 - 1  # version


def versions(base: str) -> list[int]:
    """The versions in a serving folder, as a reader sees them.

    Args:
        base: The folder; it need not exist.

    Returns:
        Numbers, ascending.
    """
    return sorted(_folders(base))


def version_path(base: str, version: int) -> str:
    """The folder of a version."""
    return f"{base.rstrip('/')}/{_folders(base).get(version, version)}"


def _folders(base: str) -> dict[int, str]:
    """The names of the folders that a reader takes for versions, by number.

    TensorFlow Serving reads 007 as 7, and no number beyond int64. Of two names of one number the
    shorter one counts.
    """
    names = sorted((name for name in _names(base) if re.fullmatch("[0-9]+", name)), key=len)
    return {int(name): name for name in reversed(names) if int(name) <= _LARGEST}


def push(
    model: str,
    base: str,
    keep_versions: int = 0,
    extras: Mapping[str, str] | None = None,
    check: Callable[[str], None] | None = None,
) -> int:
    """Makes a model the newest version.

    Args:
        model: Folder of a SavedModel.
        base: The serving folder.
        keep_versions: Only so many of the newest versions stay; 0 for all.
        extras: Files and folders to put beside the model: path in the version folder → where it is.
        check: Called with the folder of the copy, before it is a version, and raises an error if it
            is of no use; of an object store with `model`.

    Returns:
        The version: the Unix time in seconds, or one more than the newest version if that is
        greater; the newest version itself if it holds the same files already.

    Raises:
        OSError: The folder cannot be written; no version has appeared then.
        ValueError: An extra would replace a file of the model.
    """
    remote = "://" in base
    extras = extras or {}
    version_files(model, extras)
    fileio.makedirs(base)
    with contextlib.nullcontext() if remote else _alone(base):
        _remove_leftovers(base, remote)
        version = max(versions(base), default=None)
        if version is None or not same_files(model, version_path(base, version), extras):
            version = (_push_remote if remote else _push_local)(model, base, extras, check)
        if keep_versions:
            _remove_old(base, keep_versions, remote)
        return version


@contextlib.contextmanager
def _alone(base: str) -> Iterator[None]:
    """Waits until no other process pushes; the kernel frees the lock of one that is killed."""
    lock = os.open(f"{base}/{LOCK}", os.O_RDWR | os.O_CREAT, 0o664)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def same_files(one: str, other: str, extras: Mapping[str, str] | None = None) -> bool:
    """Whether two folders hold the same files, checksums and texts for people aside.

    Args:
        one: A folder.
        other: A folder.
        extras: What the other should hold besides, as for `push`.
    """
    sources, files = version_files(one, extras or {}), _files(other)
    for beside in (CHECKSUMS_FILE, *TEXTS):
        sources.pop(beside, None)
        files.pop(beside, None)
    return (
        sources.keys() == files.keys()
        and all(fileio.stat(path).length == files[name] for name, path in sources.items())
        and all(_same_bytes(sources[name], f"{other}/{name}") for name in sorted(files))
    )


def copy_extras(extras: Mapping[str, str], folder: str) -> None:
    """Copies extras, as for `push`, into a folder."""
    for name, source in extras.items():
        if fileio.isdir(source):
            io_utils.copy_dir(source, f"{folder}/{name}")
        else:  # perhaps in the place of a file that the Trainer has left empty
            io_utils.copy_file(source, f"{folder}/{name}", overwrite=True)


def version_files(model: str, extras: Mapping[str, str]) -> dict[str, str]:
    """Where each file of a version comes from, by its path in the version."""
    sources = {name: f"{model}/{name}" for name in _files(model)}
    for name, source in extras.items():
        inside = {f"{name}/{file}": f"{source}/{file}" for file in _files(source)}
        found = inside if fileio.isdir(source) else {name: source}
        if both := sorted(filter(is_of_model, found.keys() & sources.keys())):
            raise ValueError(f"the extra {source} would replace {', '.join(both)} of {model}")
        sources |= found
    return sources


def _push_local(
    model: str, base: str, extras: Mapping[str, str], check: Callable[[str], None] | None
) -> int:
    _next_version(base)  # if there can be none, that is told before anything is copied
    incoming = f"{base}/{INCOMING}{uuid.uuid4().hex}"
    try:
        io_utils.copy_dir(model, incoming)
        copy_extras(extras, incoming)
        _seal(model, incoming, extras)
        if check:
            check(incoming)
        _force_to_disk(incoming)
    except Exception:
        shutil.rmtree(incoming, ignore_errors=True)  # else the next push removes it
        raise
    while True:
        version = _next_version(base)
        try:
            os.rename(incoming, version_path(base, version))  # noqa: PTH104 — the point of it all
            break
        except OSError:
            if version not in versions(base):  # else somebody made this one just now
                raise
    _fsync(base)
    return version


def _seal(model: str, folder: str, extras: Mapping[str, str]) -> None:
    """Writes the checksums of a version, of what was copied, and compares the copies with them."""
    sums = source_checksums(model, extras)
    if faults := compare_checksums(sums, {name: f"{folder}/{name}" for name in sums}):
        raise OSError(
            f"The copy of {model} in {folder} is not what was copied: {', '.join(faults)}. Look "
            "after the disk, and push again."
        )
    with fileio.open(f"{folder}/{CHECKSUMS_FILE}", "w") as file:
        file.write(checksums_text(sums))


def source_checksums(model: str, extras: Mapping[str, str]) -> dict[str, str]:
    """The checksums that a version of this model and these extras carries, by path in it."""
    return sum_files(version_files(model, extras))


def _push_remote(
    model: str, base: str, extras: Mapping[str, str], check: Callable[[str], None] | None
) -> int:
    if check:
        check(model)
    version = _next_version(base)
    path = version_path(base, version)
    io_utils.copy_dir(model, path, deny_regex_patterns=[f"^{re.escape(f'{model}/{_MODEL_FILE}')}$"])
    copy_extras(extras, path)
    with fileio.open(f"{path}/{CHECKSUMS_FILE}", "w") as file:
        file.write(checksums_text(source_checksums(model, extras)))
    io_utils.copy_file(f"{model}/{_MODEL_FILE}", f"{path}/{_MODEL_FILE}")
    return version


def _next_version(base: str) -> int:
    newest = max(versions(base), default=0)
    if newest == _LARGEST:
        raise OSError(
            f"{version_path(base, newest)} is the largest version that there can be, so none can "
            "come after it: rename the folder to a smaller number, such as the time in seconds."
        )
    return max(int(time.time()), newest + 1)


def _remove_leftovers(base: str, remote: bool) -> None:
    """Removes what killed pushes and removals have left."""
    for name in _names(base):
        if name.startswith((INCOMING, OUTGOING)):
            fileio.rmtree(f"{base}/{name}")
    for version in versions(base) if remote else ():
        path = version_path(base, version)
        if not fileio.exists(f"{path}/{_MODEL_FILE}") and _idle(path) > _LEFT_AFTER:
            fileio.rmtree(path)


def _idle(folder: str) -> float:
    """Seconds since a file in the folder was written; infinite without one."""
    files = [f"{folder}/{name}" for name in _files(folder)]
    changed = max((tf.io.gfile.stat(file).mtime_nsec / 1e9 for file in files), default=-math.inf)
    return time.time() - changed


def _remove_old(base: str, keep: int, remote: bool) -> None:
    """Removes all but the newest versions; the hand-over that was done does not fail with it."""
    for version in versions(base)[:-keep]:
        path = version_path(base, version)
        try:
            if remote:
                fileio.remove(f"{path}/{_MODEL_FILE}")
            else:
                aside = f"{base}/{OUTGOING}{version}-{uuid.uuid4().hex}"
                os.rename(path, aside)  # noqa: PTH104
                path = aside
            fileio.rmtree(path)
        except Exception as error:  # OSError, or TensorFlow's own kinds
            logging.warning("Pusher: the old version %s cannot be removed: %s", path, error)


def _names(folder: str) -> list[str]:
    """Names of the subfolders."""
    if not fileio.isdir(folder):
        return []
    names = (name.rstrip("/") for name in fileio.listdir(folder))
    return [name for name in names if fileio.isdir(f"{folder}/{name}")]


def _files(folder: str) -> dict[str, int]:
    """Size in bytes by path below the folder."""
    folder = folder.rstrip("/")
    paths = (f"{path.rstrip('/')}/{name}" for path, _, names in fileio.walk(folder)
             for name in names)  # fmt: skip
    return {path.removeprefix(folder + "/"): fileio.stat(path).length for path in paths}


def _same_bytes(one: str, other: str) -> bool:
    with fileio.open(one, "rb") as first, fileio.open(other, "rb") as second:
        while True:
            piece = first.read(_READ_BYTES)
            if piece != second.read(_READ_BYTES):
                return False
            if not piece:
                return True


def _force_to_disk(folder: str) -> None:
    """Forces files, then their folders, so that the rename never reaches the disk before them."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            _fsync(Path(path) / name)
        _fsync(path)


def _fsync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
