"""Who trains next, and how long: many short trials, then the best of them longer."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import keras_tuner

OBJECTIVE = "val_map@r"
# A trial traces its graph in the first seconds; below this it would hardly learn.
LEAST_SECONDS = 4.0
_KEPT = 4  # one of so many goes on to the next round


def plan_rounds(minutes: float) -> list[int]:
    """How many trials each round has; every round takes the same share of the minutes.

    >>> plan_rounds(5)
    [8, 2]
    >>> plan_rounds(80)
    [32, 8, 2]
    """
    rounds = [max(2, round(8 * math.sqrt(minutes / 5)))]
    while rounds[-1] // _KEPT >= 2:
        rounds.append(rounds[-1] // _KEPT)
    return rounds


class Halving(keras_tuner.Oracle):
    """Successive halving within a number of minutes (Jamieson, Talwalkar 2016, arXiv:1502.07943).

    The first trial is the configuration as it is. The others of the first round are drawn at random
    by the seed: which they are does not depend on the minutes, only how many. The best quarter of a
    round trains again in the next one, from the start and longer. The configuration as it is goes
    on in any case, since what is better than others need not be better than it.

    Args:
        space: See `search_space`.
        seed: Of the random values.
        minutes: Of the whole search. They begin with the first trial.
        clock: Seconds from anywhere.
    """

    def __init__(
        self,
        space: keras_tuner.HyperParameters,
        seed: int,
        minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            hyperparameters=space,
            seed=seed + 1,  # 0 would be any
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=sys.maxsize,  # the next one may be possible
        )
        self._counts = plan_rounds(minutes)
        self._budget = 60 * minutes
        self._clock = clock
        self._began: float | None = None
        self._round = 0
        self._left = self._counts[0]
        self._waiting: deque[dict[str, Any]] = deque()
        self._own = {p.name: space.get(p.name) for p in space.space if space.is_active(p)}
        self._of_round: list[str] = []
        self.slots: dict[str, tuple[int, float]] = {}  # by id of the trial: round and seconds

    @property
    def own_values(self) -> dict[str, Any]:
        """The configuration as it is, as a point of the space."""
        return dict(self._own)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next trial, as KerasTuner asks for it."""
        if self._began is None:
            self._began = self._clock()
        while self._round < len(self._counts):
            end = self._budget * (self._round + 1) / len(self._counts)
            seconds = end - (self._clock() - self._began)
            # Slow data: fewer trials, not shorter ones.
            self._left = min(self._left, math.floor(seconds / LEAST_SECONDS))
            values = self._next_values() if self._left > 0 else None
            if values is None:
                self._end_round()
                continue
            self.slots[trial_id] = self._round, seconds / self._left
            self._left -= 1
            self._of_round.append(trial_id)
            return {"status": "RUNNING", "values": values}
        return {"status": "STOPPED"}

    def _next_values(self) -> dict[str, Any] | None:
        if self._round:
            return self._waiting.popleft() if self._waiting else None
        return self.own_values if not self._of_round else self._random_values()

    def _end_round(self) -> None:
        ended = [self.trials[name] for name in self._of_round]
        ended = [trial for trial in ended if trial.status == "COMPLETED"]
        ended.sort(key=lambda trial: -trial.score)
        self._round += 1
        if self._round == len(self._counts):
            return
        chosen = [trial.hyperparameters.values for trial in ended]
        count = self._counts[self._round]
        if self._own in chosen[count:]:
            chosen = [*chosen[: count - 1], self._own]
        self._waiting = deque(chosen[:count])
        self._left, self._of_round = len(self._waiting), []
