"""One call of the model for all requests that wait.

While the model works, requests gather; when it is free, it takes them together. So a lone request
waits for nobody, and many at once cost little more than one. A batch has one version from its first
image to its last neighbour: no answer mixes two.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.served import Embedded, Neighbour, ServedVersion


class OverloadedError(Exception):
    """More images wait than may."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of the images of one request.

    Attributes:
        version: That answered.
        embedded: Vectors, and faults by number of the image.
        neighbours: Of each good image, in the order of `embedded.rows`; none if not asked for.
    """

    version: ServedVersion
    embedded: Embedded
    neighbours: list[list[Neighbour]]


@dataclasses.dataclass(frozen=True)
class _Job:
    images: Sequence[bytes]
    k: int  # 0: no search
    done: asyncio.Future[Answer]


class Batcher:
    """Collects images of requests and lets one thread work on them, batch by batch.

    Args:
        current: The version to answer with, looked up once for a batch.
        batch: The most images in a batch; a single request may have more.
        waiting: The most images that wait.
        on_batch: Called with the number of images of each batch.
    """

    def __init__(
        self,
        current: Callable[[], ServedVersion],
        batch: int,
        waiting: int,
        on_batch: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._current = current
        self._batch, self._most_waiting = batch, waiting
        self._on_batch = on_batch
        self._jobs: collections.deque[_Job] = collections.deque()
        self._some = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "model")
        self.waiting = 0

    async def ask(self, images: Sequence[bytes], k: int = 0) -> Answer:
        """Embeds images and finds their k nearest.

        Raises:
            OverloadedError: Too many images wait.
            VersionError: The version has no index to search.
        """
        if self.waiting + len(images) > self._most_waiting:
            raise OverloadedError(f"{self.waiting:,} images wait already. Try again in a moment.")
        job = _Job(images, k, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.waiting += len(images)
        self._some.set()
        return await job.done

    async def run(self) -> None:
        """Works until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._some.wait()
                jobs = self._take()
                if not jobs:
                    continue
                self._on_batch(sum(len(job.images) for job in jobs))
                try:
                    answers = await loop.run_in_executor(self._pool, self._work, jobs)
                except Exception as error:  # whatever it is, those who wait must hear of it
                    answers = [error] * len(jobs)
                for job, answer in zip(jobs, answers, strict=True):
                    _tell(job, answer)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for job in self._jobs:
                job.done.cancel()

    def _take(self) -> list[_Job]:
        """The jobs of the next batch; those whose client has gone are dropped."""
        taken: list[_Job] = []
        images = 0
        while self._jobs:
            job = self._jobs[0]
            if taken and images + len(job.images) > self._batch:
                break
            self._jobs.popleft()
            self.waiting -= len(job.images)
            if not job.done.cancelled():
                taken.append(job)
                images += len(job.images)
        if not self._jobs:
            self._some.clear()
        return taken

    def _work(self, jobs: list[_Job]) -> list[Answer | Exception]:
        version = self._current()
        embedded = version.embed([image for job in jobs for image in job.images])
        firsts = np.cumsum([0, *(len(job.images) for job in jobs)])
        # At which of the good images each job begins.
        borders = np.searchsorted(embedded.rows, firsts)
        found = _search(version, jobs, borders, embedded.vectors)
        answers: list[Answer | Exception] = []
        for number, neighbours in enumerate(found):
            if isinstance(neighbours, Exception):
                answers.append(neighbours)
                continue
            rows = slice(borders[number], borders[number + 1])
            first, last = int(firsts[number]), int(firsts[number + 1])
            part = Embedded(
                embedded.vectors[rows],
                embedded.rows[rows] - first,
                {n - first: text for n, text in embedded.faults.items() if first <= n < last},
            )
            answers.append(Answer(version, part, neighbours))
        return answers


def _search(
    version: ServedVersion, jobs: Sequence[_Job], borders: np.ndarray, vectors: np.ndarray
) -> list[list[list[Neighbour]] | Exception]:
    """Neighbours for each job, by one search for all that ask for some."""
    asking = [number for number, job in enumerate(jobs) if job.k]
    found: list[list[list[Neighbour]] | Exception] = [[] for _ in jobs]
    rows = [row for number in asking for row in range(borders[number], borders[number + 1])]
    if not asking:
        return found
    try:
        version.require_index()
        near = version.search(vectors[rows], max(jobs[n].k for n in asking)) if rows else []
    except Exception as error:
        for number in asking:
            found[number] = error
        return found
    of_all = iter(near)
    for number in asking:
        count = borders[number + 1] - borders[number]
        found[number] = [next(of_all)[: jobs[number].k] for _ in range(count)]
    return found


def _tell(job: _Job, answer: Answer | Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # its client has gone
        if isinstance(answer, Exception):
            job.done.set_exception(answer)
        else:
            job.done.set_result(answer)
