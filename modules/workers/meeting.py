"""The folder in which the workers of a training find each other.

It is on storage that all of them see, where the data and the models are too. So nobody has to know
an address beforehand, and no other service is needed.

| file | written by | holds |
|---|---|---|
| `job.json` | the Trainer | what is to be trained |
| `worker-N.json` | worker N | its address: it is there, and has loaded its code |
| `cluster.json` | the Trainer | the addresses of all, in order: training begins |
| `failed-N.json` | worker N | why it ends |
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from modules.storage import read_file, write_file

LOOK_EVERY = 0.5  # seconds


class Failure(NamedTuple):
    """Why a worker ended.

    Attributes:
        lost: Whether the cause is that another worker was gone.
        message: For people.
        trace: Where in the code it was.
    """

    lost: bool
    message: str
    trace: str = ""


class Meeting:
    """One attempt at a training; a new attempt has a new folder.

    Args:
        folder: Local on storage that is shared, or a URI that TensorFlow can write to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def call(self, job: dict[str, Any]) -> None:
        """Makes the folder, and says what is to be trained."""
        if "://" not in self.folder:
            # Not by TensorFlow, whose folders only their owner may write to: a worker may be
            # another user of the same group.
            Path(self.folder).mkdir(parents=True, exist_ok=True)
        self._write("job.json", job)

    def job(self, seconds: float) -> dict[str, Any]:
        """What is to be trained; waits for it.

        Raises:
            TimeoutError: It did not come.
        """
        return self._wait_for("job.json", seconds, "what is to be trained")

    def announce(self, number: int, address: str) -> None:
        """Says that a worker is there, and where it is reached, as `host:port`."""
        self._write(f"worker-{number}.json", address)

    def present(self, count: int) -> dict[int, str]:
        """The addresses of the workers that are there, by number."""
        found = {number: self._read(f"worker-{number}.json") for number in range(count)}
        return {number: address for number, address in found.items() if address}

    def begin(self, addresses: list[str]) -> None:
        """Lets the training begin, by the addresses of all workers in order."""
        self._write("cluster.json", addresses)

    def addresses(self, seconds: float) -> list[str]:
        """Those of all workers in order; waits for the last one.

        Raises:
            TimeoutError: Not all came.
        """
        return self._wait_for("cluster.json", seconds, "the other workers")

    def fail(self, number: int, failure: Failure) -> None:
        """Says why a worker ends."""
        self._write(f"failed-{number}.json", failure)

    def failures(self, count: int) -> dict[int, Failure]:
        """Those of the workers that have said why they end, by number."""
        found = {number: self._read(f"failed-{number}.json") for number in range(count)}
        return {number: Failure(*value) for number, value in found.items() if value}

    def close(self) -> None:
        """Removes the folder."""
        if tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)

    def _write(self, name: str, value: Any) -> None:
        write_file(f"{self.folder}/{name}", json.dumps(value).encode())

    def _read(self, name: str) -> Any:
        try:
            return json.loads(read_file(f"{self.folder}/{name}"))
        except tf.errors.NotFoundError:
            return None

    def _wait_for(
        self, name: str, seconds: float, what: str, clock: Callable[[], float] = time.monotonic
    ) -> Any:
        end = clock() + seconds
        while (value := self._read(name)) is None:
            if clock() > end:
                raise TimeoutError(
                    f"Waited {seconds / 60:.0f} minutes for {what} ({self.folder}/{name}). Do all "
                    "workers mount the same storage at the same place?"
                )
            time.sleep(LOOK_EVERY)
        return value
