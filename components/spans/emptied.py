"""Folders that are there with nothing in them, as where no disk is mounted."""

from __future__ import annotations

import os
from collections.abc import Iterable

from absl import logging

from components.spans.listing import list_files
from components.spans.patterns import SpanPattern


class NoDataError(ValueError):
    """What holds the data is there and empty: not the data is at fault, but its disk."""


def check_not_empty(root: str) -> None:
    """Looks at the root folder of the data; object stores have no empty folders.

    Raises:
        NoDataError: There is nothing in it.
    """
    if _is_empty(root):
        raise NoDataError(
            f"The folder {root} is empty, as a place is where no disk is mounted. Mount its disk, "
            "or put the images there."
        )


def check_not_emptied(
    root: str, patterns: Iterable[SpanPattern], span: int, *, was_read: bool
) -> None:
    """Looks at the folders of a span without files, and warns of those that are empty.

    Args:
        root: Root folder of the data.
        patterns: Of the splits.
        span: The span.
        was_read: By an earlier run. A run would else go back to the span before it and take that
            for the latest one.

    Raises:
        NoDataError: The span was read, and now a folder of it is empty.
    """
    base = os.path.join(root, "")  # noqa: PTH118 — may be a URI
    for pattern in patterns:
        for path in list_files(root, pattern.folders):
            found = pattern.find(path.removeprefix(base))
            if found is None or found[0] != span or not _is_empty(path):
                continue
            if was_read:
                raise NoDataError(
                    f"The folder {path} is empty, and an earlier run has read images there: its "
                    "disk may not be mounted. Mount it; if the images were removed for good, "
                    "remove the folder too."
                )
            logging.warning(
                "The folder %s is empty, so there is no span to read in it yet. If there should "
                "be, mount its disk.", path,
            )  # fmt: skip


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
