"""Everything that a command can report as one message instead of a traceback."""

from __future__ import annotations

import sys
import traceback
from typing import ClassVar

from pipeline.runtime.exit_codes import ExitCode


class PipelineError(Exception):
    """A known fault; its message names the cause, the place and the remedy.

    Attributes:
        exit_code: What a command ends with.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class ConfigError(PipelineError, ValueError):
    """The configuration or a command line option cannot be used."""

    exit_code = ExitCode.USAGE


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


def report(error: PipelineError) -> int:
    """Prints an error to stderr; what made a node fail comes before it, in full.

    Returns:
        The exit code.
    """
    if isinstance(error, NodeFailedError) and error.__cause__:
        traceback.print_exception(error.__cause__)
    print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code
