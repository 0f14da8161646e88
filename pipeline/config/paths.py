"""Where relative paths of a configuration start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

PROJECT = Path(__file__).resolve().parent.parent.parent


def absolute(path: str) -> str:
    """Takes relative local paths from the project folder, wherever the process was started."""
    return path if "://" in path else str(PROJECT / path)


ProjectPath = Annotated[str, Field(min_length=1), AfterValidator(absolute)]
