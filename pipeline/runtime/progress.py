"""One line per node while a run goes on, and a sign of life while a node takes long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from modules.runtime import work_done
from pipeline.runtime.terminal import Terminal

_QUIET_SECONDS = 3.0  # a node that takes no longer is its own sign of life
_LOOK_SECONDS = 0.5  # between two looks at a node, on a terminal
_LINE_SECONDS = 60.0  # between two lines where there is no terminal, as in a log
_SHOWS_ITSELF = frozenset({"Trainer"})  # has a bar of its own


class Shown:
    """What is known of a node when it ends.

    Attributes:
        outcome: As `pipeline.launch` says it; None while the node runs, and for ever if it fails.
    """

    outcome: str | None = None


class NodeProgress:
    """Prints each node when it starts and when it ends.

    While a node runs longer than a few seconds, a terminal shows how long it has run, and how much
    of its work is done where the node counts that (`modules.runtime.work_done`); a log gets such a
    line every minute.

    Args:
        nodes: Number of nodes in the pipeline.
        console: Where to print; default: stdout.
    """

    def __init__(self, nodes: int, console: Console | None = None) -> None:
        self._nodes = nodes
        self._started = 0
        self._console = console or Terminal(soft_wrap=True)

    @contextlib.contextmanager
    def of(self, node: str) -> Iterator[Shown]:
        """Shows one node, from entering the block to leaving it."""
        self._started += 1
        shown, since = Shown(), time.monotonic()
        self._print(node, "…")
        work_done.reset()
        try:
            with self._alive(node, since):
                yield shown
        finally:
            word = {None: "FAILED", "executed": "done"}.get(shown.outcome, shown.outcome)
            self._print(node, f"{word}, {time.monotonic() - since:.1f} s")

    def _print(self, node: str, text: str) -> None:
        self._console.print(self._line(node, text), highlight=False, markup=False)

    def _line(self, node: str, text: str) -> str:
        return f"[{self._started:2}/{self._nodes}] {node} {text}"

    @contextlib.contextmanager
    def _alive(self, node: str, since: float) -> Iterator[None]:
        if node in _SHOWS_ITSELF:
            yield
            return
        ended = threading.Event()
        show = self._move if self._console.is_terminal else self._repeat
        thread = threading.Thread(target=show, args=(node, since, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _move(self, node: str, since: float, ended: threading.Event) -> None:
        """A line at the bottom of the terminal that goes with the node."""
        if ended.wait(_QUIET_SECONDS):
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as live:
            while not ended.wait(_LOOK_SECONDS):
                live.update(Text(self._line(node, self._state(since))), refresh=True)

    def _repeat(self, node: str, since: float, ended: threading.Event) -> None:
        """A line now and then."""
        while not ended.wait(_LINE_SECONDS):
            self._print(node, self._state(since))

    def _state(self, since: float) -> str:
        counts = work_done.describe()
        return f"… {time.monotonic() - since:.0f} s" + (f", {counts}" if counts else "")
