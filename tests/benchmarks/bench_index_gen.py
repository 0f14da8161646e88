"""IndexGen's executor on more and more images: seconds of the processor, and memory.

    python -m tests.benchmarks.bench_index_gen [--images 250000 1000000] [--kind flat]
        [--dimension 128]

An image is a random vector in the place of a picture, and the model only makes its length 1. So
what is measured is everything but the network: reading, hashing, one shuffle, writing, the index.
Gzipped TFRecord files of 16,384 examples are written first, which is not counted; all numbers but
the largest are rounded up to whole files. For each number of images a child process runs the real
executor in Beam's runner in process; another reads the index back, and compares the 10 nearest of
100 images with exact search in the gallery.

`peak_mib` is that of the whole process, and `imported_mib` what TensorFlow, TFX and Beam take
before; `bytes_per_image` is their difference by image. `ratio` is the seconds of the processor for
an image, compared with those of the first line. `--idx` is there because `make bench` gives it to
all benchmarks; it has no effect.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PER_FILE, READ_BACK, K = 16_384, 100, 10


def write(folder: Path, images: int, dimension: int) -> None:
    """Writes the model and the examples, of which the first ones are those of fewer images."""
    import tensorflow as tf

    from modules.contract import make_example

    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
        def embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tf.ensure_shape(tf.io.decode_raw(images, tf.float32), [None, dimension])
            return {"embedding": tf.math.l2_normalize(rows, axis=1)}

    network = Network()
    tf.saved_model.save(
        network, str(folder / "model" / "Format-Serving"), signatures={"images": network.embed}
    )
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    for first in range(0, images, PER_FILE):
        rows = min(PER_FILE, images - first)
        drawn = np.random.default_rng(first).standard_normal((rows, dimension), np.float32)
        split = folder / "examples" / "Split-train"
        split.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(split / f"{first:09d}.gz"), options) as writer:
            for row, values in enumerate(drawn, first):
                example = make_example(values.tobytes(), b"%d" % (row // 20), b"%09d" % row)
                writer.write(example.SerializeToString())


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make(folder: Path, images: int, kind: str) -> dict[str, Any]:
    """Runs the executor on the first images."""
    import apache_beam as beam
    from tfx.types import artifact_utils, standard_artifacts

    from components.index_gen import Index
    from components.index_gen.executor import Executor
    from tests.real_data import BEAM_ARGS

    part = folder / f"examples {images}" / "Split-train"
    part.mkdir(parents=True)
    for first in range(0, images, PER_FILE):
        name = f"{first:09d}.gz"
        (part / name).symlink_to(folder / "examples" / "Split-train" / name)
    examples, model, index = standard_artifacts.Examples(), standard_artifacts.Model(), Index()
    examples.uri, model.uri, index.uri = (
        str(part.parent), str(folder / "model"), str(folder / f"index {images}")
    )  # fmt: skip
    examples.split_names = artifact_utils.encode_split_names(["train"])
    context = Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=BEAM_ARGS))
    settings = {"kind": kind, "thumbnails": False}
    imported, started, clock = peak_mib(), time.process_time(), time.perf_counter()
    Executor(context).Do(
        {"examples": [examples], "model": [model]}, {"index": [index]},
        {"settings": json.dumps(settings)},
    )  # fmt: skip
    return {
        "cpu_seconds": round(time.process_time() - started, 1),
        "seconds": round(time.perf_counter() - clock, 1),
        "peak_mib": peak_mib(),
        "imported_mib": imported,
        "bytes_per_image": round((peak_mib() - imported) * 2**20 / images),
        "kind": index.get_string_custom_property("kind"),
        "recall@10": round(index.get_float_custom_property("recall"), 4),
    }


def read(folder: Path, images: int) -> dict[str, Any]:
    """Opens the index as a reader does; brute force is by the gallery's own vectors."""
    from modules.index import open_index

    index = open_index(f"{folder}/index {images}")
    rows = np.sort(np.random.default_rng(0).choice(images, READ_BACK, replace=False))
    queries = index.vectors(rows)
    _, found = index.search(queries, K)
    nearest = np.empty((READ_BACK, 0), np.float32)
    numbers = np.empty((READ_BACK, 0), np.int64)
    for first in range(0, images, PER_FILE):
        part = np.arange(first, min(first + PER_FILE, images))
        nearest = np.concatenate([nearest, queries @ index.vectors(part).T], axis=1)
        numbers = np.concatenate([numbers, np.tile(part, (READ_BACK, 1))], axis=1)
        best = np.argsort(-nearest, axis=1)[:, :K]
        nearest = np.take_along_axis(nearest, best, axis=1)
        numbers = np.take_along_axis(numbers, best, axis=1)
    right = (found[:, :, None] == numbers[:, None]).any(axis=2).mean()
    return {"read_back": round(float(right), 4), "reader_peak_mib": peak_mib()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", help="ignored: the vectors are drawn")
    parser.add_argument("--images", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--kind", choices=("auto", "flat", "ivf", "hnsw"), default="flat")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        what, folder, images = args.child
        made = (
            read(Path(folder), int(images))
            if what == "read"
            else make(Path(folder), int(images), args.kind)
        )
        print(json.dumps(made))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), max(args.images), args.dimension)
        baseline: float | None = None
        for asked in args.images:
            images = min(-(-asked // PER_FILE) * PER_FILE, max(args.images))  # whole files
            line: dict[str, Any] = {"images": images, "dimension": args.dimension}
            for what in ("make", "read"):
                done = subprocess.run(
                    [sys.executable, "-m", "tests.benchmarks.bench_index_gen", "--kind", args.kind,
                     "--child", what, folder, str(images)],
                    stdout=subprocess.PIPE, text=True, check=True,
                )  # fmt: skip
                line |= json.loads(done.stdout.splitlines()[-1])
            each = line["cpu_seconds"] / images
            baseline = baseline or each
            ratio = round(each / baseline, 3)
            print(json.dumps({"benchmark": "index_gen", **line, "ratio": ratio}), flush=True)


if __name__ == "__main__":
    main()
