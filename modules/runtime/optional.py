"""What is nice to have, and no reason to lose a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Turns an error into a warning.

    Args:
        what: What is not there after an error, such as `the preview`.
    """
    try:
        yield
    except Exception as error:  # whatever it is
        logging.warning("Left out: %s (%s: %s).", what, type(error).__name__, error)
