"""When a training validates and when it ends: by a number of steps, by minutes, or by both."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from modules.training.choices import choose_validate_every
from modules.training.triplet_model import TripletModel

# For Keras, to which the end of a training comes as `stop_training`.
WITHOUT_END = sys.maxsize
# Of a stretch, those that are left out of its measure: they trace, and fill buffers.
_UNMEASURED_STEPS = 3
_MEASURED_STEPS = 5
# The first stretch is cut at this part of the budget, and the number of steps is measured anew at
# each validation up to the first one behind the other part: the cosine has hardly fallen by then.
_FIRST_PART = 0.05
_MEASURED_PART = 0.25
# The least a stretch of training takes, as a multiple of the validation behind it.
_STRETCH_OF_VALIDATION = 2


class Pace(keras.callbacks.Callback):
    """Ends each stretch of steps with a validation, and the training with the last of them.

    A stretch is an epoch in Keras's sense. It ends with `stop_training`, which is withdrawn while
    training goes on. So the validation has to come before this callback, and what may end the
    training has to come after it.

    With `training.minutes` the number of steps is the one that fits into them. It is measured at
    the end of the first stretch, and anew in the first quarter of the budget, since the first steps
    are slower. From then on it stands, and the schedule of the learning rate ends with it. If that
    was too hopeful, training ends with the budget all the same.

    Args:
        trainer: Its `total_steps` are those of the whole training; 0: as many as the minutes allow.
        clock: Seconds from anywhere.

    Raises:
        ValueError: There are neither steps nor minutes.
    """

    def __init__(self, trainer: TripletModel, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._settings = trainer.settings
        self._given = self.total = int(trainer.total_steps.numpy()) or None
        if self.total is None and self._settings.minutes is None:
            raise ValueError("A training needs a number of steps, or training.minutes.")
        self._trainer = trainer
        self._budget = math.inf if self._settings.minutes is None else 60 * self._settings.minutes
        self._clock = clock
        self._began = clock()
        self._earlier = self._validation = 0.0
        self._every: int | None = None
        self._settled = self._settings.minutes is None
        self._out_of_time = False
        self.done = self.stretches = 0

    @property
    def seconds(self) -> float:
        """How long the training took until now, without what was lost when it was killed."""
        return self._earlier + self._clock() - self._began

    @property
    def finished(self) -> bool:
        """Whether the steps or the minutes are used up."""
        return self._out_of_time or (self.total is not None and self.done >= self.total)

    @property
    def out_of_time(self) -> bool:
        """Whether it was the minutes that ended the training, or set the number of its steps."""
        return self._out_of_time or (self.finished and self.total != self._given)

    @property
    def every(self) -> int | None:
        """Steps of a stretch, if known."""
        if self._settings.validate_every is not None:
            return self._settings.validate_every
        if self._every is None and self.total is not None:
            return choose_validate_every(self.total)
        return self._every

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begins a stretch."""
        self._first = self.done
        self._measured_from = self.done, self._clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends a stretch."""
        self.done += 1
        steps = self.done - self._first
        if steps == _UNMEASURED_STEPS:
            self._measured_from = self.done, self._clock()
        self._out_of_time = self.seconds + self._validation >= self._budget
        to_measure = (
            not (self._settled or self.stretches)
            and steps >= _UNMEASURED_STEPS + _MEASURED_STEPS
            and self.seconds >= _FIRST_PART * self._budget
        )
        whole = self.every is not None and steps >= self.every
        if whole or to_measure or self.finished:
            self._ended = self._clock()
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Goes on, unless this was the last stretch.

        Raises:
            ValueError: The warm-ups take all the steps that the minutes allow.
        """
        self.stretches += 1
        self._validation = self._clock() - self._ended
        if not self._settled and not self.finished:
            self._settled = self.seconds >= _MEASURED_PART * self._budget
            self._measure()
        self.model.stop_training = self.finished

    def _measure(self) -> None:
        since, began = self._measured_from
        step = (self._ended - began) / max(1, self.done - since)
        every = self._settings.validate_every
        if every is None:
            every = max(
                choose_validate_every(round(self._budget / step)),
                math.ceil(_STRETCH_OF_VALIDATION * self._validation / step),
            )
        left = (self._budget - self.seconds) / (step + self._validation / every)
        steps = self.done + max(1, math.floor(left))
        if self._given is not None and self._given <= steps:
            steps, every = self._given, None
        try:
            self._settings.check_steps(steps)
        except ValueError as error:
            raise ValueError(
                f"training.minutes = {self._settings.minutes:g} is enough for {steps} steps: "
                f"{error}, or raise minutes."
            ) from error
        self._every = every
        self._set_total(steps)

    def _set_total(self, steps: int | None) -> None:
        self.total = steps
        self._trainer.total_steps.assign(steps or 0)

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        return {
            "done": np.array(self.done),
            "stretches": np.array(self.stretches),
            "seconds": np.array(self.seconds),
            "total": np.array(self.total or 0),
            "every": np.array(self._every or 0),
            "settled": np.array(self._settled),
            "out_of_time": np.array(self._out_of_time),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self.done, self.stretches = int(state["done"]), int(state["stretches"])
        self._earlier, self._began = float(state["seconds"]), self._clock()
        self._every = int(state["every"]) or None
        self._settled, self._out_of_time = bool(state["settled"]), bool(state["out_of_time"])
        self._set_total(int(state["total"]) or None)
