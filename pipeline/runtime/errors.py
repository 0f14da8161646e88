"""Everything that a command can report as one message instead of a traceback."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
import traceback
from collections.abc import Iterator
from typing import ClassVar

from modules.runtime import printable
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.verbosity import in_short, is_verbose


class PipelineError(Exception):
    """A known fault; its message names the cause, the place and the remedy.

    Attributes:
        exit_code: What a command ends with.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class ConfigError(PipelineError, ValueError):
    """The configuration or a command line option cannot be used."""

    exit_code = ExitCode.USAGE


class NoDataError(PipelineError):
    """The folder of the data is there and empty, as when its disk is not mounted."""

    exit_code = ExitCode.NO_DATA


class LockedError(PipelineError):
    """Another process works on this pipeline; the message names it."""

    exit_code = ExitCode.LOCKED


class NodeFailedError(PipelineError):
    """A node did not finish; its execution is marked as failed with this reason."""


class NotRunError(PipelineError):
    """The pipeline has not run yet, or not far enough for what was asked."""

    exit_code = ExitCode.USAGE


class MetadataError(PipelineError):
    """The metadata database cannot be used; the message says which one, why and what to do."""


class ProgramError(PipelineError):
    """A program of the system, such as systemctl, is missing or has failed."""


class ApiError(PipelineError):
    """The API of Kubeflow Pipelines cannot be used, or has not what was asked for."""


def report(error: BaseException) -> int:
    """Prints an error to stderr in one message; with `--verbose` its traceback before it.

    Returns:
        The exit code.
    """
    if is_verbose() and not (isinstance(error, PipelineError) and error.__cause__ is None):
        traceback.print_exception(error)
    print(f"error: {_sentence(error)}", file=sys.stderr)  # noqa: T201
    return error.exit_code if isinstance(error, PipelineError) else ExitCode.FAILED


def _sentence(error: BaseException) -> str:
    if isinstance(error, PipelineError):
        return printable(str(error))  # our own words, however many faults they list
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return in_short(f"{place}{error.strerror}. {_REMEDIES.get(error.errno or 0, _WHERE)}")
    return in_short(f"{type(error).__name__}: {error}. {_WHERE}")


_WHERE = "With --verbose the traceback says where this comes from."
_REMEDIES = {
    errno.ENOSPC: "Make room on the disk, then call the command again.",
    errno.EDQUOT: "Make room within the quota of this user, then call the command again.",
    errno.EFBIG: "The limit for the size of files (ulimit -f) is too small; raise it.",
    errno.EROFS: "The file system is read-only; mount it for writing, or name another folder.",
    errno.EACCES: "Give this user the right to it, or name another place.",
    errno.EPERM: "Give this user the right to it, or name another place.",
    errno.ENOENT: "Correct the path, or mount its disk.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.EIO: "Look after the disk; what is on it may be damaged.",
}


@contextlib.contextmanager
def run_reporting() -> Iterator[None]:
    """For the entry points: every error becomes one message and an exit code.

    Terminals that know fewer characters than are printed get their escapes.

    Raises:
        SystemExit: There was an error; see `ExitCode`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except Exception as error:
        sys.exit(report(error))
