"""What can become of a training on several machines, beside a model."""

from __future__ import annotations

import errno


class WorkerFailedError(RuntimeError):
    """A worker ended with an error of its own; the message is that error's."""


class WorkerLostError(ConnectionResetError):
    """A worker is gone: killed, out of memory, out of reach. A new try goes on where this ended.

    Args:
        message: Which one, and what is known of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errno.ECONNRESET, message)

    def __str__(self) -> str:
        return str(self.strerror)
