"""The Trainer while others train: it starts them, waits, and says what became of them."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

from modules.workers.errors import WorkerFailedError, WorkerLostError
from modules.workers.meeting import LOOK_EVERY, Meeting
from modules.workers.starting import Started, start_all

# For all to come; a machine with a GPU may have to be made first.
MEETING_SECONDS = 1800.0
# How long those that are left may take to say what was wrong, after the first one ended.
_SECONDS_TO_TELL = 20.0
# What a worker has to know of the environment of the Trainer.
_VARIABLES = ("TRIPLET_RUN_ID",)
_GOES_ON = "A new try goes on at the last validation, unless training.resume is false."


def train_on_workers(arguments: dict[str, Any], count: int, folder: str) -> None:
    """Has a training done by several processes, of which the first is the chief.

    This process takes no part in it, so it can always say what is wrong, and end the others: they
    may be waiting for one that is gone.

    Args:
        arguments: What the workers are to know, as JSON can hold it.
        count: How many workers.
        folder: That all of them can write to; of each attempt's meeting, which is removed again.

    Raises:
        WorkerFailedError: A worker ended with an error.
        WorkerLostError: A worker is gone, or did not come.
    """
    meeting = Meeting(f"{folder.rstrip('/')}/workers-{uuid.uuid4().hex[:12]}")
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    meeting.call({"arguments": arguments, "environment": variables})
    started: list[Started] = []
    try:
        started = start_all(meeting.folder, count)
        _let_meet(meeting, count, started)
        chief = started[0]
        while not chief.ended():
            _check(meeting, count, started)
            time.sleep(LOOK_EVERY)
        _check(meeting, count, started[:1])  # it ends well, too, after it has said what was wrong
    finally:
        for group in reversed(started):
            group.stop()
        meeting.close()


def _let_meet(meeting: Meeting, count: int, started: list[Started]) -> None:
    end = time.monotonic() + MEETING_SECONDS
    while len(present := meeting.present(count)) < count:
        _check(meeting, count, started)
        if time.monotonic() > end:
            missing = ", ".join(str(n) for n in range(count) if n not in present)
            raise WorkerLostError(
                f"Of {count} workers these did not come within {MEETING_SECONDS / 60:.0f} minutes: "
                f"{missing}. Are there machines for all of them, and do they see {meeting.folder}?"
            )
        time.sleep(LOOK_EVERY)
    meeting.begin([present[number] for number in range(count)])


def _check(meeting: Meeting, count: int, started: list[Started]) -> None:
    """Raises what is wrong, once those who know more had the time to say so."""
    end = time.monotonic() + _SECONDS_TO_TELL
    while failures := meeting.failures(count):
        causes = sorted(number for number, failure in failures.items() if not failure.lost)
        # What all of them meet the chief tells as the Trainer alone would, once it has.
        if causes and (0 in failures or time.monotonic() > end):
            number = causes[0]
            of = f"Worker {number} of {count}: " if number else ""
            error = WorkerFailedError(f"{of}{failures[number].message}")
            error.add_note(failures[number].trace)  # comes with the traceback, not the message
            raise error
        _check_gone(started)
        if time.monotonic() > end:
            said = "; ".join(f"worker {n}: {f.message}" for n, f in sorted(failures.items()))
            raise WorkerLostError(f"A worker is out of reach ({said}).\n{_GOES_ON}")
        time.sleep(LOOK_EVERY)
    _check_gone(started)


def _check_gone(started: list[Started]) -> None:
    if gone := next(filter(None, (group.lost() for group in started)), None):
        raise WorkerLostError(f"{gone}\n{_GOES_ON}")
