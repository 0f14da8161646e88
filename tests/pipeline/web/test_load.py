"""Hundreds of requests at once: batches, a new version in the middle of them, too many."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from pipeline.served import Embedded
from pipeline.web import Batcher, OverloadedError
from tests.pipeline.served.served_versions import (
    GALLERY,
    neighbours_by_loop,
    write_model,
    write_version,
)
from tests.pipeline.web.servers import serving
from tests.real_data import digits

QUERIES = [image for image, _, _ in digits(3, start=200)]
AT_ONCE = 200


def test_a_version_takes_over_under_load_without_an_error_and_without_a_mixture(
    model, version_folder, tmp_path: Path
) -> None:
    """The second model halves its vectors, so its distances are a quarter; a mixture has others."""
    folder = tmp_path / "serving"
    folder.mkdir()
    shutil.copytree(version_folder, folder / "1")
    other = write_model(tmp_path / "other", value=0.25)
    write_version(tmp_path / "2", other)
    expected = {
        version: [
            [(name, label, distance * scale) for name, label, distance in found]
            for found in (neighbours_by_loop(query, GALLERY, 5) for query in QUERIES)
        ]
        for version, scale in (("1", 1), ("2", 1 / 4))
    }
    with serving(folder, poll=0.1) as url:
        answers = asyncio.run(_ask_while_versions_change(url, folder, tmp_path / "2"))
    for query, status, answer in answers:
        assert status == 200, answer
        (result,) = answer["results"]
        found = [(one["id"], one["label"], one["distance"]) for one in result["neighbours"]]
        assert found == expected[answer["version"]][query]
    counts = Counter(answer["version"] for _, _, answer in answers)
    assert counts["1"] > AT_ONCE
    assert counts["2"] > AT_ONCE // 4


async def _ask_while_versions_change(
    url: str, folder: Path, second: Path
) -> list[tuple[int, int, dict]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def ask(query: int) -> tuple[int, int, dict]:
            answer = await client.post("/search?k=5", content=QUERIES[query])
            return query, answer.status_code, answer.json()

        async def ask_many(number: int = AT_ONCE) -> list[tuple[int, int, dict]]:
            return await asyncio.gather(*(ask(n % len(QUERIES)) for n in range(number)))

        answers = await ask_many()
        second.rename(folder / "2")  # as the Pusher does
        # On and on, until the other one answers; then a little longer.
        for _ in range(2000):
            answers += await ask_many(10)
            await asyncio.sleep(0.05)
            if answers[-1][2].get("version") == "2":
                break
        answers += await ask_many(AT_ONCE // 4)
        metrics = (await client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    # No image was lost on the way, and some requests shared a call.
    assert float(values["triplet_batch_images_sum"]) == len(answers)
    assert float(values["triplet_batch_images_count"]) < len(answers)
    assert float(values["triplet_version_changes"]) == 2
    return answers


def test_a_version_that_cannot_be_used_does_not_take_over(
    model, version_folder, tmp_path: Path
) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    shutil.copytree(version_folder, folder / "1")
    mixed = write_model(tmp_path / "mixed", value=0.25)
    shutil.copytree(version_folder / "index", mixed / "index")
    with serving(folder, poll=0.05) as url, httpx.Client(base_url=url) as client:
        mixed.rename(folder / "2")
        while "triplet_version_failures 1.0" not in client.get("/metrics").text:
            pass
        assert client.post("/search", content=QUERIES[0]).json()["version"] == "1"
        shutil.rmtree(folder / "2")
        shutil.rmtree(folder / "1")  # what is loaded needs its files no more
        assert client.post("/search", content=QUERIES[0]).status_code == 200
        assert client.get("/readyz").status_code == 200


class SlowVersion:
    """Answers when it is told to, with the length of each image."""

    name = "1"

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.batches: list[int] = []

    def embed(self, images: list[bytes]) -> Embedded:
        self.go.acquire()
        self.batches.append(len(images))
        if b"fatal" in images:
            raise RuntimeError("the model broke")
        good = [number for number, image in enumerate(images) if image]
        vectors = np.array([[len(images[number])] for number in good], np.float32)
        faults = {n: "empty" for n in range(len(images)) if n not in good}
        return Embedded(vectors.reshape(-1, 1), np.array(good, np.int64), faults)


def in_a_loop(test) -> None:
    async def run() -> None:
        version = SlowVersion()
        batcher = Batcher(lambda: version, batch=4, waiting=10)
        task = asyncio.create_task(batcher.run())
        try:
            await test(version, batcher)
        finally:
            version.go.release(100)
            task.cancel()

    asyncio.run(run())


def test_requests_that_wait_share_a_batch_and_each_gets_its_own() -> None:
    async def test(version: SlowVersion, batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.ask([b"1"]))
        await asyncio.sleep(0.05)  # the model is busy with it
        sizes = [[b"22", b""], [b""], [b"333"], [b"4444"] * 6]
        others = [asyncio.create_task(batcher.ask(images)) for images in sizes]
        gone = asyncio.create_task(batcher.ask([b"gone"]))
        await asyncio.sleep(0.05)
        assert batcher.waiting == 11 - 1 + 1 - 1
        gone.cancel()
        with pytest.raises(OverloadedError, match="10 images wait"):
            await batcher.ask([b"x"])
        version.go.release(3)
        answers = [(await one).embedded for one in (first, *others)]
        assert [one.vectors.ravel().tolist() for one in answers] == [
            [1], [2], [], [3], [4] * 6,
        ]  # fmt: skip
        assert [one.rows.tolist() for one in answers] == [[0], [0], [], [0], [*range(6)]]
        assert [one.faults for one in answers[1:3]] == [{1: "empty"}, {0: "empty"}]
        # Four fit together; a request larger than a batch goes alone; who has gone is left out.
        assert version.batches == [1, 4, 6]

    in_a_loop(test)


def test_an_error_reaches_all_who_wait_for_it_and_the_next_are_answered() -> None:
    async def test(version: SlowVersion, batcher: Batcher) -> None:
        version.go.release(2)
        failing = await asyncio.gather(
            batcher.ask([b"fatal"]), batcher.ask([b"1"]), return_exceptions=True
        )
        assert [str(error) for error in failing] == ["the model broke"] * 2
        assert (await batcher.ask([b"22"])).embedded.vectors.tolist() == [[2]]

    in_a_loop(test)
