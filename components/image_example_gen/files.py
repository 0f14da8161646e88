"""Which files are taken for images, and which must not be opened at all."""

from __future__ import annotations

import os
import stat

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".pgm", ".ppm")
_NO_FILE = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class FileFaultError(Exception):
    """A file that cannot be used; the message says why."""


def check_regular(path: str) -> None:
    """Checks that reading will not wait for ever, as on a pipe that nobody writes to.

    Raises:
        FileFaultError: It is a folder, a pipe or a link to nothing.
    """
    if "://" in path:
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 — any bytes
    except OSError as error:  # also a link to itself
        raise FileFaultError(f"the file cannot be read ({error.strerror})") from error
    for is_kind, name in _NO_FILE.items():
        if is_kind(mode):
            raise FileFaultError(f"{name}, not a file")
