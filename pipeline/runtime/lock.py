"""One run at a time: a lock that goes with its process and tells who holds it.

The kernel keeps the lock (`flock`) and lets it go when the last process that has the file open
ends, however it ends. The text in the file is only for the message to others: without the lock it
means nothing, so a file that was left behind blocks no run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Config
from pipeline.runtime.errors import ConfigError, LockedError
from pipeline.runtime.places import check_writable

# A process that holds the lock hands it to one that it starts: the number of the open file.
LOCK_VARIABLE = "TRIPLET_LOCK_FD"
_ANNOUNCED_WITHIN = 1.0  # seconds from taking the lock to having said who did


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who took the lock: `since` is a UTC time in ISO 8601, `command` what it does."""

    pid: int
    host: str
    since: str
    command: str


def lock_path(config: Config) -> Path:
    """The file that is locked, `DIRECTORY/NAME/lock`; the file stays, the lock comes and goes."""
    return Path(config.pipeline.directory) / config.pipeline.name / "lock"


@contextlib.contextmanager
def hold_lock(config: Config, command: str) -> Iterator[int]:
    """Keeps every other process from changing what the pipeline has made.

    A process started with `LOCK_VARIABLE` set to the yielded number, and with that number in
    `subprocess`'s `pass_fds`, shares the lock: its own `hold_lock` succeeds, and the lock stays
    until both have ended.

    Args:
        config: The pipeline, by `[pipeline] directory` and `name`.
        command: What the holder does, for the message to others.

    Yields:
        The number of the open, locked file.

    Raises:
        LockedError: Another process holds it; this does not wait for its end.
        ConfigError: In its place is something else than a file, or nothing can be written there.
    """
    path = lock_path(config)
    check_writable(path.parent, "[pipeline] directory")
    inherited = _inherited(path)
    lock = _open(path) if inherited is None else inherited
    before = b""
    try:
        if not _locked(lock):
            raise LockedError(_message(config, _read(path)))
        if inherited is not None:
            os.set_inheritable(lock, False)
            before = path.read_bytes()
        mine = _me(command)
        _write(lock, mine)
        try:
            yield lock
        finally:
            if path.read_bytes() == mine:  # else of a process that shares it and goes on
                _write(lock, before)
    finally:
        # Closed, not unlocked: a process that shares the lock keeps it.
        os.close(lock)


def check_unlocked(config: Config) -> None:
    """Fails where `hold_lock` would fail, before a command does anything slow.

    Raises:
        LockedError: As `hold_lock`.
    """
    if is_locked(config):
        raise LockedError(_message(config, _read(lock_path(config))))


def is_locked(config: Config) -> bool:
    """Tells whether any process holds the lock now, this one included."""
    try:
        with lock_path(config).open("rb") as file:
            return not _locked(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _open(path: Path) -> int:
    """Opens the file, and makes it if missing. What a link points to would be written over."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        if stat.S_ISREG(os.fstat(lock).st_mode):
            return lock
        os.close(lock)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
    raise ConfigError(f"{path} must be a file, and is a link, a folder or a pipe; remove it.")


def _locked(lock: int) -> bool:
    """Tries to take the lock, twice: `check_unlocked` of another process holds it for a moment."""
    for wait in (0.2, 0.0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(wait)
    return False


def _inherited(path: Path) -> int | None:
    """The open lock file that the starting process handed over, if it is of this pipeline."""
    try:
        number = int(os.environ[LOCK_VARIABLE])
        if os.path.samestat(os.fstat(number), path.stat()):
            return number
    except (KeyError, ValueError, OSError):
        pass
    return None


def _me(command: str) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    holder = Holder(os.getpid(), socket.gethostname(), now, command)
    return json.dumps(dataclasses.asdict(holder)).encode()


def _write(lock: int, content: bytes) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, content, 0)


def _read(path: Path) -> Holder | None:
    """The holder; waits a little for a process that has just taken the lock to name itself."""
    deadline = time.monotonic() + _ANNOUNCED_WITHIN
    while True:
        try:
            return Holder(**json.loads(path.read_bytes()))
        except (ValueError, TypeError, OSError):
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)


def _message(config: Config, holder: Holder | None) -> str:
    who = "another process"
    remedy = "Wait until it has ended"
    if holder:
        who = f"{holder.command!r} (pid {holder.pid} on {holder.host}, since {holder.since})"
        remedy += f", or end it with `kill {holder.pid}`"
        if holder.host != socket.gethostname():
            remedy += f" on {holder.host}"
    return (
        f"Pipeline {config.pipeline.name!r} is in use: {who} holds {lock_path(config)}. {remedy}; "
        "the lock goes with its process."
    )
