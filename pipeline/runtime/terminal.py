"""A terminal on which names from the data can do nothing: their control characters are escaped."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from modules.runtime import printable


class Terminal(Console):
    """Rich's console, which prints an escape sequence in a name as text.

    A file or a class can be called so that its name colours a terminal, moves its cursor or writes
    to its clipboard. What rich itself says to the terminal passes.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is printed, piece by piece."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
