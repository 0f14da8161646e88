"""Whether tracebacks are shown: `--verbose`, or TRIPLET_VERBOSE in the environment."""

from __future__ import annotations

import os
import re

from modules.runtime import printable

VERBOSE_VARIABLE = "TRIPLET_VERBOSE"
_TRACEBACK = re.compile(r"^\s*Traceback \(most recent call last\):", re.MULTILINE)
_STEP = re.compile(r"\s*\[while running '[^']*'\]\s*$")
_ESCAPE = r"\\(?:x[0-9a-f]{2}|[0-7]{3}|[abfnrtv'\"\\])"
_ESCAPED_BYTES = re.compile(rf"(?:{_ESCAPE}[ -\[\]-~]{{0,8}}){{15,}}{_ESCAPE}")
_HEX = re.compile(r"\b[0-9a-fA-F]{200,}\b")
_MOST = 2000  # characters


def is_verbose() -> bool:
    """Whether people have asked for tracebacks."""
    return os.environ.get(VERBOSE_VARIABLE, "") not in ("", "0")


def set_verbose() -> None:
    """Asks for them, in this process and in those that it starts."""
    os.environ[VERBOSE_VARIABLE] = "1"


def in_short(text: str) -> str:
    r"""An error for people: without tracebacks in its text, without images, not endless.

    Beam puts the traceback of a worker into the text of its error, and the bytes of an image come
    with the `repr` of an example.

    Example:
        >>> in_short("Traceback (most recent call last):\n  File ...\nValueError: why [while running 'Map']")
        'why'
        >>> in_short("bad " + 30 * r"\xff\x00" + " here")
        'bad (bytes) here'
    """  # noqa: E501
    if _TRACEBACK.search(text):
        text = _last_error(text)
    text = printable(without_bytes(text).strip())
    return text if len(text) <= _MOST else f"{text[: _MOST // 2]} … {text[-_MOST // 2 :]}"


def without_bytes(text: str) -> str:
    """Leaves out what is written of the bytes of files, escaped or in hexadecimal digits."""
    return _HEX.sub("(bytes)", _ESCAPED_BYTES.sub("(bytes)", text))


def _last_error(text: str) -> str:
    """What stands below the last traceback: the error itself, of one line or several."""
    below = text[[found.end() for found in _TRACEBACK.finditer(text)][-1] :].splitlines()
    starts = [i for i, line in enumerate(below) if line.strip() and not line.startswith(" ")]
    error = "\n".join(below[starts[0] :] if starts else below)
    return _STEP.sub("", re.sub(r"^[A-Za-z_][\w.]*(?:Error|Exception|Warning): ", "", error))
