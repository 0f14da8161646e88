"""Single executions, for those who launch nodes."""

from __future__ import annotations

from components.metadata import find_execution, mark_failed

__all__ = ["find_execution", "mark_failed"]
