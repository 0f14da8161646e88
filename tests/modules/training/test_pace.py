"""Stretches, budgets of minutes, and what a resumed training knows of them."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.settings import TrainingSettings
from modules.training.guard import FailureGuard
from modules.training.pace import Pace
from modules.training.triplet_model import TripletModel
from tests.modules.training.training_runs import BASE, Run


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Steps:
    """Calls `Pace` as Keras does, with steps and validations that take known times."""

    def __init__(self, trainer: TripletModel, *, step: float, validation: float) -> None:
        self.clock = Clock()
        self.pace = Pace(trainer, self.clock)
        self.pace.set_model(trainer)
        self._step, self._validation = step, validation
        self.ends: list[int] = []

    def stretch(self) -> bool:
        """Trains until a validation is over; returns whether training goes on."""
        model = self.pace.model
        model.stop_training = False
        self.pace.on_epoch_begin(self.pace.stretches)
        while not model.stop_training:
            self.clock.now += self._step if self.pace.done else 10 * self._step  # traces
            self.pace.on_train_batch_end(0)
        self.clock.now += self._validation
        self.ends.append(self.pace.done)
        self.pace.on_epoch_end(self.pace.stretches)
        return not model.stop_training

    def all(self) -> list[int]:
        while self.stretch():
            pass
        return self.ends


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("run")).trainer().embedder


def steps_of(embedder, *, step: float = 1.0, validation: float = 0.0, **training) -> Steps:
    trainer = TripletModel(embedder, TrainingSettings(**training))
    trainer.total_steps.assign(training.get("steps") or 0)
    return Steps(trainer, step=step, validation=validation)


def test_a_stretch_is_as_told_or_a_tenth_and_no_step_too_many_is_made(embedder) -> None:
    assert steps_of(embedder, steps=20, validate_every=6).all() == [6, 12, 18, 20]
    assert steps_of(embedder, steps=600).all() == list(range(60, 601, 60))
    assert steps_of(embedder, steps=3).all() == [1, 2, 3]


@settings(deadline=None, max_examples=50)
@given(
    step=st.floats(0.01, 2), validation=st.floats(0, 20), minutes=st.floats(2, 60),
    every=st.none() | st.integers(5, 200),
)  # fmt: skip
def test_minutes_are_kept_to(embedder, step, validation, minutes, every) -> None:
    """The last stretch may be a part of a step and of a validation too long."""
    steps = steps_of(
        embedder, step=step, validation=validation, minutes=minutes, validate_every=every
    )
    ends = steps.all()
    pace = steps.pace
    assert pace.finished
    assert pace.out_of_time
    assert pace.seconds <= 60 * minutes + step + validation
    assert ends == sorted(set(ends))
    assert pace.seconds >= 60 * minutes * 0.95 - step - 2 * validation


def test_the_rate_falls_to_its_end_within_the_minutes(embedder) -> None:
    """6 minutes of steps of 0.5 s and validations of 2 s: about 10 of them."""
    steps = steps_of(embedder, step=0.5, validation=2, minutes=6.0)
    totals = []
    while steps.stretch():
        totals.append(steps.pace.total)
    assert steps.pace.done == steps.pace.total == totals[-1]
    assert 640 <= steps.pace.total <= (360 - 20) / 0.5
    assert 9 <= len(steps.ends) <= 13
    # The first stretch is cut at a twentieth; behind a quarter of the time nothing changes.
    assert steps.ends[0] * 0.5 == pytest.approx(18 - 5, abs=1)
    assert len(set(totals[3:])) == 1
    assert int(steps.pace.model.total_steps.numpy()) == steps.pace.total


def test_with_steps_and_minutes_the_first_of_both_ends_training(embedder) -> None:
    few = steps_of(embedder, steps=100, minutes=10.0)
    assert few.all() == list(range(10, 101, 10))  # as without minutes
    assert not few.pace.out_of_time
    many = steps_of(embedder, steps=10_000, minutes=10.0)
    assert 560 <= many.all()[-1] <= 600
    assert many.pace.out_of_time


def test_minutes_too_few_for_the_warm_up_are_refused(embedder) -> None:
    steps = steps_of(embedder, minutes=1.0, mining="hard", warmup_steps=100)
    with pytest.raises(ValueError, match=r"minutes = 1 is enough for \d+ steps: hard mining would"):
        steps.all()


def test_a_budget_of_nothing_in_particular_is_refused(embedder) -> None:
    with pytest.raises(ValueError, match=r"number of steps, or training\.minutes"):
        steps_of(embedder)


@pytest.mark.parametrize("killed_after", [1, 2, 5])
def test_a_resumed_training_knows_its_budget(embedder, killed_after: int) -> None:
    whole = steps_of(embedder, step=0.5, validation=2, minutes=6.0)
    part = steps_of(embedder, step=0.5, validation=2, minutes=6.0)
    for _ in range(killed_after):
        part.stretch()
    rest = steps_of(embedder, step=0.5, validation=2, minutes=6.0)
    rest.pace.restore(part.pace.state())
    assert part.ends + rest.all() == whole.all()
    assert rest.pace.seconds == pytest.approx(whole.pace.seconds)
    ended = steps_of(embedder, minutes=6.0)
    ended.pace.restore(rest.pace.state())
    assert ended.pace.finished
    assert ended.pace.out_of_time


def test_a_real_training_of_a_few_seconds(tmp_path, monkeypatch) -> None:
    """Its steps are counted, so that a training with as many can repeat it; and it is resumed."""
    stretches = itertools.count()
    original = FailureGuard.on_epoch_end

    def killed_in_second(self: FailureGuard, epoch: int, logs: dict) -> None:
        original(self, epoch, logs)
        if next(stretches) == 1:
            raise KeyboardInterrupt

    free = dict.fromkeys(BASE.keys() & {"steps", "validate_every"})
    run = Run(tmp_path, minutes=0.3, **free)
    with monkeypatch.context() as patch:
        patch.setattr(FailureGuard, "on_epoch_end", killed_in_second)
        with pytest.raises(KeyboardInterrupt):
            run.fit()
    trainer, _ = run.fit()
    result = json.loads((tmp_path / "run/training.json").read_text())
    assert result["stopped"] == "minutes used up"
    assert result["steps"] == int(trainer.steps_done.numpy())
    # What the killed process did after its last checkpoint is lost; a slow machine is a bit late.
    assert 10 <= result["seconds"] <= 25
    assert float(trainer.optimizer.learning_rate.numpy()) < 1e-3


def test_state_is_plain_arrays(embedder) -> None:
    state = steps_of(embedder, steps=5).pace.state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    assert math.isfinite(float(state["seconds"]))
