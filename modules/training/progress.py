"""What a training shows of itself while it goes on."""

from __future__ import annotations

import sys
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from modules.training.pace import Pace


class TrainingProgress(keras.callbacks.Callback):
    """A progress bar on a terminal, and one line per validation everywhere.

    A context manager, so that the bar is gone before an error is shown.

    Args:
        pace: Knows the steps made, and those of the whole training.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def __enter__(self) -> TrainingProgress:
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            # Its own: rich's global one stays as it was made, perhaps before there was a terminal.
            console=Console(),
            transient=True,
            disable=not sys.stdout.isatty(),
        )
        self._task = self._bar.add_task("", total=self._pace.total, completed=self._pace.done)
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        text = " ".join(f"{k} {(logs or {})[k]:.3f}" for k in ("loss", "active", "d_ap", "d_an"))
        self._bar.update(
            self._task, completed=self._pace.done, total=self._pace.total, description=text
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the validation."""
        logs = logs or {}
        self._bar.console.print(
            f"step {self._pace.done:5}/{self._pace.total or '?'}  loss {logs['loss']:.4f}  "
            f"active {logs['active']:.3f}  d_ap {logs['d_ap']:.3f}  d_an {logs['d_an']:.3f}  "
            f"validation P@1 {logs['val_precision@1']:.4f}  MAP@R {logs['val_map@r']:.4f}  "
            f"{self._pace.seconds:.0f} s",
            highlight=False,
            soft_wrap=True,
        )
