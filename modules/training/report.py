"""What became of a training: advice on the way, and a file at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from modules.storage import write_file
from modules.training.advice import Progress, advise
from modules.training.callbacks import BestWeights
from modules.training.pace import Pace
from modules.training.triplet_model import TripletModel

TRAINING_FILE = "training.json"
_KEPT = (
    "loss", "active", "d_ap", "d_an", "spread", "served_spread", "served_agreement", "classes",
    "alone", "val_map@r",
)  # fmt: skip


class Report(keras.callbacks.Callback):
    """Prints advice when there is some first, and writes `training.json` at the end.

    It has to come after the validation, the pace and the best weights.

    Args:
        trainer: Its settings say what may be changed.
        pace: Knows the steps and the seconds.
        best: Knows the best scores.
        note: Prints a line.
    """

    def __init__(
        self, trainer: TripletModel, pace: Pace, best: BestWeights, note: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._settings = trainer.settings
        self._pace, self._best, self._note = pace, best, note
        self._last: dict[str, float] = {}
        self._said: set[str] = set()
        self._resumed_at: list[int] = []

    @property
    def stopped(self) -> str:
        """Why training ended: `no improvement`, `minutes used up` or `steps used up`."""
        if self._best.finished:
            return "no improvement"
        return "minutes used up" if self._pace.out_of_time else "steps used up"

    def resumed(self) -> None:
        """Notes that the training goes on from here, where an earlier attempt was killed."""
        self._resumed_at.append(self._pace.done)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints advice that is new."""
        self._last = {name: float((logs or {}).get(name, math.nan)) for name in _KEPT}
        if not (self._pace.finished or self._best.finished):
            advice = self._advice()
            for name, sentence in advice.items():
                if name not in self._said:
                    self._note(f"Advice at step {self._pace.done}: {sentence}")
            self._said |= advice.keys()

    def write(self, folder: str) -> None:
        """Prints the advice of the whole training and writes `training.json`.

        The file holds `steps` (made), `total_steps` (planned), `resumed_at` (the steps from which
        it went on after it was killed), `stopped`, `seconds`, the last
        `loss`, `active`, `d_ap`, `d_an`, `spread`, `served_spread`, `served_agreement` (see
        `BatchStatistics`), `classes`, `alone` and `val_map@r` (null if not finite or not there),
        `best` (`val_map@r`, `val_precision@1` and `step` of the weights that were kept)
        and `advice`, a list.

        Args:
            folder: Local, or a URI that TensorFlow can write to.
        """
        advice = [*self._advice().values()]
        for sentence in advice:
            self._note(f"Advice: {sentence}")
        content = {
            "steps": self._pace.done,
            "total_steps": self._pace.total,
            "resumed_at": self._resumed_at,
            "stopped": self.stopped,
            "seconds": round(self._pace.seconds, 1),
            **{name: value if math.isfinite(value) else None for name, value in self._last.items()},
            "best": self._best.scores,
            "advice": advice,
        }
        write_file(f"{folder}/{TRAINING_FILE}", json.dumps(content, indent=2).encode())

    def _advice(self) -> dict[str, str]:
        last = self._last
        progress = Progress(
            active=last["active"],
            classes=last["classes"],
            alone=last["alone"],
            map_at_r=last["val_map@r"],
            best=self._best.scores["val_map@r"],
            step=self._pace.done,
            steps=self._pace.total or 0,
            ended=self._pace.finished,
        )
        return advise(progress, self._settings)

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        said = {
            "said": np.array(sorted(self._said), np.str_),
            "resumed_at": np.array(self._resumed_at, np.int64),
        }
        return said | {name: np.array(value) for name, value in self._last.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self._said = set(state["said"].tolist())
        self._resumed_at = state["resumed_at"].tolist()
        self._last = {name: float(state[name]) for name in _KEPT}
