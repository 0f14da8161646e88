"""The artifact that TrainingDecision makes."""

from __future__ import annotations

from typing import ClassVar

from tfx.types import Artifact


class Decision(Artifact):
    """Whether a span is trained on, and why; the names of its properties are in
    `components.metadata.decisions`.
    """  # noqa: D205

    TYPE_NAME: ClassVar[str] = "TrainingDecision"
