"""Where relative paths of a configuration start, and which paths TensorFlow would misread."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from modules.runtime import shown

PROJECT = Path(__file__).resolve().parent.parent.parent
_PATTERN = re.compile(r"[*?\[\]\\]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")


def absolute(path: str) -> str:
    """Takes relative local paths from the project folder, wherever the process was started.

    Raises:
        ValueError: It begins with `~`, which only a shell expands, or has control characters, which
            break logs, unit files and crontabs.
    """
    if found := _CONTROL.search(path):
        raise ValueError(
            f"the path {shown(path)} has the control character {found[0]!a}; rename the folder"
        )
    if path == "~" or path.startswith("~/"):
        raise ValueError(
            f"{path} begins with ~, which is not expanded here; write the whole path of the home "
            "folder, or ./~ for a folder of that name"
        )
    return path if "://" in path else str(PROJECT / path)


def no_pattern(path: str) -> str:
    """Lets a path pass that is not a pattern to TensorFlow's and TFX's search for files.

    Raises:
        ValueError: It has a character that is a sign in patterns.
    """
    if found := _PATTERN.search(path):
        raise ValueError(
            f"{path} has the character {found[0]}, a sign of file patterns, so files below it "
            "would not be found; rename the folder, or name a link to it here"
        )
    return path


def _no_pattern_in_uri(path: str) -> str:
    """Below a local folder files are searched with the folder taken literally."""
    return no_pattern(path) if "://" in path else path


ProjectPath = Annotated[str, Field(min_length=1), AfterValidator(absolute)]
PlainPath = Annotated[ProjectPath, AfterValidator(no_pattern)]
DataPath = Annotated[ProjectPath, AfterValidator(_no_pattern_in_uri)]
