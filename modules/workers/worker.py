"""What one worker does: it comes to the meeting, and trains with the others."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import click
import tensorflow as tf

from modules.workers.meeting import Failure, Meeting
from modules.workers.supervision import MEETING_SECONDS

# What Kubernetes calls the number of a pod of an indexed Job. The chief is none of them.
_POD_NUMBER = "JOB_COMPLETION_INDEX"
# What TensorFlow says when a worker that it waits for is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
_COLLECTIVES = ("Collective ops is aborted", "coordination service", "Connection reset")


def run_worker(train: Callable[[dict[str, Any]], None]) -> None:
    """The command line of a worker.

    It exits with 0 also after an error that it could say in the meeting.

    Args:
        train: Takes what `train_on_workers` was given; in it TensorFlow may be used for the first
            time, with TF_CONFIG in the environment.
    """

    @click.command()
    @click.option("--folder", required=True, help="Where the workers of the training meet.")
    @click.option("--number", type=click.IntRange(0), help="Of this worker; 0 is the chief.")
    @click.option("--host", help="Under which the others reach this machine.")
    @click.option("--tied", is_flag=True, help="End when the standard input does.")
    def main(folder: str, number: int | None, host: str | None, tied: bool) -> None:
        if number is None:
            number = int(os.environ[_POD_NUMBER]) + 1
        signal.signal(signal.SIGTERM, _end)
        if tied:
            threading.Thread(target=_end_with_the_trainer, daemon=True).start()
        meeting = Meeting(folder)
        try:
            _train(meeting, number, host or socket.gethostbyname(socket.gethostname()), train)
        except Exception as error:  # whatever it is, the Trainer says it
            trace = traceback.format_exc()
            if not tied:  # the log of a pod is all that is left of it
                sys.stderr.write(trace)
            meeting.fail(number, why(error)._replace(trace=trace))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # TensorFlow would wait for the others before it lets go

    main()


def _train(
    meeting: Meeting, number: int, host: str, train: Callable[[dict[str, Any]], None]
) -> None:
    job = meeting.job(MEETING_SECONDS)
    os.environ.update(job["environment"])
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    meeting.announce(number, f"{host}:{port}")
    addresses = meeting.addresses(MEETING_SECONDS)
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
    )
    train(job["arguments"])


def why(error: Exception) -> Failure:
    """What a worker says of an error; of TensorFlow's words about a lost one, the line that counts.

    >>> why(ValueError("No triplets."))
    Failure(lost=False, message='No triplets.', trace='')
    """
    text = str(error) or type(error).__name__
    lines = [line for line in text.splitlines() if any(one in line for one in _COLLECTIVES)]
    if isinstance(error, _LOST) or lines:
        return Failure(True, lines[0] if lines else text.splitlines()[0])
    return Failure(False, text)


def _end(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)  # temporary folders are removed


def _end_with_the_trainer() -> None:
    """The Trainer holds the other end, which is closed when it is gone, however it ended."""
    os.read(sys.stdin.fileno(), 1)  # nobody writes to it
    os._exit(1)
