"""Tries again what failed for a moment only: a database that restarts, a file system that hangs.

What Kubeflow itself tries again depends on its version (see README), so a pod does not rely on it.
"""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ml_metadata import errors

from pipeline.runtime import MetadataError

T = TypeVar("T")

WAIT, FACTOR = 10, 2  # seconds before the second try, and how much longer before each further one
_NUMBERS = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.EAGAIN,
        errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE,
        errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET,
    }
)  # fmt: skip
# ML Metadata calls a lost connection an internal error, mostly without a word about it.
_DATABASE = (
    MetadataError,
    errors.InternalError,
    errors.UnavailableError,
    errors.DeadlineExceededError,
    errors.AbortedError,
)
# Of TensorFlow's file layer (gs:// above all), by name: it is not loaded for this.
_TENSORFLOW = ("UnavailableError", "DeadlineExceededError", "AbortedError")
_JOB_SERVER = "JobServerError"  # by name, too: its file loads Beam
_NUMBER = re.compile(r"\[Errno (\d+)\]")  # Beam hands on the text of what a worker raised


def patiently(what: str, action: Callable[[], T], retries: int) -> T:
    """Does something, and again after a failure that may pass.

    Args:
        what: Its name, for the log.
        action: Can be called again after it failed.
        retries: How often at most; the waits are 10, 20, 40, … seconds.

    Returns:
        What the action returns.

    Raises:
        Exception: Of the action: the first that will not pass, or the last.
    """
    for number in range(retries):
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
            seconds = WAIT * FACTOR**number
            logging.warning(
                "%s failed, try %d of %d; the next one in %d s: %s",
                what, number + 1, retries + 1, seconds, error,
            )  # fmt: skip
            time.sleep(seconds)
    return action()


def may_pass(error: BaseException) -> bool:
    """Whether a failure, or its cause, is of the database, the file system or Beam's job server.

    >>> may_pass(OSError(errno.ESTALE, "Stale file handle"))
    True
    >>> may_pass(FileNotFoundError(errno.ENOENT, "No such file"))
    False
    """
    return any(_is_transient(one) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, _DATABASE):
        return True
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    kind = type(error)
    if kind.__module__.startswith("tensorflow.") and kind.__name__ in _TENSORFLOW:
        return True
    if kind.__name__ == _JOB_SERVER:
        return True
    return any(int(number) in _NUMBERS for number in _NUMBER.findall(str(error)))
