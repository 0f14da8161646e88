"""Output held back, so that lines nobody can act on can be dropped."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def held_back(descriptor: int, chatter: re.Pattern[bytes]) -> Iterator[None]:
    """Holds back what is written meanwhile and then passes on all lines that are not chatter.

    It works on the file descriptor, so C++ code and child processes are held back too.

    Args:
        descriptor: 1 for stdout, 2 for stderr.
        chatter: Lines to drop. If the block raises, every line is passed on.
    """
    _flush()
    original = os.dup(descriptor)
    failed = True
    with _unnamed_file() as file:
        os.dup2(file.fileno(), descriptor)
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(original, descriptor)
            os.close(original)
            file.seek(0)
            for line in file:
                if failed or not chatter.search(line):
                    os.write(descriptor, line)


def _unnamed_file() -> IO[bytes]:
    """A file that goes with this process, in memory where the system has such: no disk is full."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("held back"), "w+b")  # noqa: PTH123
    return tempfile.TemporaryFile()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
