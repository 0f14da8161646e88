"""The progress bar on a terminal, and the lines where there is none."""

from __future__ import annotations

import os
import re
import sys
import threading

import numpy as np

from modules.training.pace import Pace
from modules.training.progress import TrainingProgress
from tests.modules.training.training_runs import Run

NUMBER = r"-?\d+\.\d+"


def on_a_terminal(monkeypatch, show) -> str:
    """What `show` writes to stdout when that is a pseudo-terminal."""
    master, slave = os.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            shown.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        assert terminal.isatty()
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "140")
        show()
    reader.join()
    os.close(master)
    return b"".join(shown).decode()


def test_the_bar_shows_steps_loss_and_distances_of_a_real_training(tmp_path, monkeypatch) -> None:
    shown = on_a_terminal(monkeypatch, lambda: Run(tmp_path, steps=12).fit())
    assert re.search(
        rf"loss {NUMBER} active {NUMBER} d_ap {NUMBER} d_an {NUMBER}", shown
    ), shown[-2000:]  # fmt: skip
    assert re.search(r"step +\S*\d+/12", re.sub(r"\x1b\[[\d;]*m", "", shown))
    # Above the bar, the two validations.
    assert re.search(r"step +6/12 .*P@1", shown)
    assert re.search(r"step +12/12 .*P@1", shown)


def test_without_a_terminal_there_are_only_lines(tmp_path, capsys) -> None:
    logs = {"loss": 0.5, "active": 1.0, "d_ap": 0.25, "d_an": 0.75}
    trainer = Run(tmp_path, steps=4).trainer()
    pace = Pace(trainer)
    pace.restore(pace.state() | {"done": np.array(4)})
    with TrainingProgress(pace) as progress:
        progress.on_train_batch_end(3, logs)
        progress.on_epoch_end(0, logs | {"val_precision@1": 0.5, "val_map@r": 0.125})
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "step     4/4  loss 0.5000  active 1.000  d_ap 0.250  d_an 0.750  "
        "validation P@1 0.5000  MAP@R 0.1250"
    )
