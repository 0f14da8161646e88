"""The Trainer tells what became of workers, and leaves nothing running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from modules.workers import WorkerFailedError, WorkerLostError, supervision, train_on_workers
from modules.workers.meeting import Failure, Meeting
from modules.workers.worker import why


class Workers:
    """Two workers that are there at once; then what a test says becomes of them."""

    def __init__(self, then: Callable[[Meeting], None], present: int = 2) -> None:
        self.then, self.present = then, present
        self.gone: str | None = None
        self.stopped = False

    def start(self, folder: str, count: int) -> list[Workers]:
        self.meeting = Meeting(folder)
        self.job = self.meeting.job(0)
        for number in range(self.present):
            self.meeting.announce(number, f"host:{number}")
        return [self]

    def lost(self) -> str | None:
        return self.gone

    def ended(self) -> bool:
        """Called once all are there."""
        self.addresses = self.meeting.addresses(0)
        self.then(self.meeting)
        return not self.gone

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def train(tmp_path, monkeypatch) -> Callable[[Workers], None]:
    monkeypatch.setattr(supervision, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(supervision, "_SECONDS_TO_TELL", 0.1)
    monkeypatch.setattr(supervision, "MEETING_SECONDS", 0.1)
    monkeypatch.setenv("TRIPLET_RUN_ID", "run-7")

    def run(workers: Workers) -> None:
        monkeypatch.setattr(supervision, "start_all", workers.start)
        try:
            train_on_workers({"steps": 3}, 2, f"{tmp_path}/run")
        finally:
            assert workers.stopped
            assert not [*Path(tmp_path, "run").iterdir()]

    return run


def test_workers_are_told_what_to_train_and_where_the_others_are(train) -> None:
    workers = Workers(lambda _: None)
    train(workers)
    assert workers.job == {"arguments": {"steps": 3}, "environment": {"TRIPLET_RUN_ID": "run-7"}}
    assert workers.addresses == ["host:0", "host:1"]


@pytest.mark.parametrize(
    ("failures", "error", "message"),
    [
        # The chief only says that it has lost the one that knows the cause.
        (
            {0: Failure(True, "reset"), 1: Failure(False, "boom", "line 7")},
            WorkerFailedError,
            "^Worker 1 of 2: boom\nline 7",
        ),
        # What the chief says is what the Trainer alone would have said.
        (
            {0: Failure(False, "no triplets"), 1: Failure(True, "reset")},
            WorkerFailedError,
            "^no triplets",
        ),
        ({1: Failure(True, "reset")}, WorkerLostError, r"out of reach \(worker 1: reset\)"),
    ],
)
def test_the_cause_is_told_and_not_what_follows_from_it(train, failures, error, message) -> None:
    def fail(meeting: Meeting) -> None:
        for number, failure in failures.items():
            meeting.fail(number, failure)

    with pytest.raises(error, match=message) as info:
        train(Workers(fail))
    notes = [failure.trace for failure in failures.values() if not failure.lost]
    assert getattr(info.value, "__notes__", []) == notes


def test_a_worker_that_is_gone_is_named(train) -> None:
    workers = Workers(lambda _: setattr(workers, "gone", "Worker 1 was killed (SIGKILL)."))
    with pytest.raises(WorkerLostError, match=r"^Worker 1 was killed .*\n.*validation") as info:
        train(workers)
    assert info.value.errno  # by which a pod knows that it may try again


def test_workers_that_do_not_come_are_named(train) -> None:
    with pytest.raises(WorkerLostError, match=r"Of 2 workers these did not come .*: 1\. Are"):
        train(Workers(lambda _: None, present=1))


def test_a_worker_does_not_wait_for_ever(tmp_path) -> None:
    with pytest.raises(TimeoutError, match=r"for the other workers .*same storage"):
        Meeting(str(tmp_path)).addresses(0)


def test_a_broken_connection_is_told_from_other_errors() -> None:
    text = "Graph execution error:\n\nCollective ops is aborted by: Connection reset\nThe error"
    lost = tf.errors.UnavailableError(None, None, text)
    assert why(lost) == Failure(True, "Collective ops is aborted by: Connection reset")
    assert why(RuntimeError(text)).lost  # Keras raises some of them as others
    assert why(tf.errors.NotFoundError(None, None, "No file")) == Failure(False, "No file")
