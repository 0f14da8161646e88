"""Kinds of indexes and storages: how long they take, how large they are, what they find.

    python -m tests.benchmarks.bench_index [--images 20000] [--kinds flat ivf] [--storages int8]

Unit vectors around centres, 20 to a class, are drawn into a file. For each kind and storage a child
process makes the index as IndexGen does (`modules.index.choose_index`, the file mapped into memory)
and writes it: processor seconds of both, tuning included, bytes of the file, recall@10 of 1,000
vectors of the gallery, the median latency of one query in one thread, the share of the gallery that
a query is compared with, and the peak of the resident memory. `ratio` is the latency compared with
that of the first line, flat of float32 by default, `bytes_ratio` the same of the bytes. The median
of a latency bears other work beside it; the other columns nearly do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from modules.index import Vectors, choose_index
from modules.settings import IndexSettings

KINDS, STORAGES = ("flat", "ivf", "hnsw"), ("float32", "float16", "int8")
PER_CLASS = 20
PART = 16_384


def draw(path: Path, images: int, dimension: int) -> None:
    """Writes the vectors, some at a time."""
    centres = np.random.default_rng(0).standard_normal(
        (max(1, images // PER_CLASS), dimension), np.float32
    )
    whole = np.lib.format.open_memmap(path, "w+", np.float32, (images, dimension))
    for start in range(0, images, PART):
        generator = np.random.default_rng([1, start])
        rows = min(PART, images - start)
        drawn = generator.standard_normal((rows, dimension), np.float32)
        drawn += centres[generator.integers(0, len(centres), rows)]
        whole[start : start + rows] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    whole.flush()


def child(path: str, kind: str, storage: str, min_recall: float) -> dict[str, object]:
    whole = np.load(path, mmap_mode="r")
    sizes = [min(PART, len(whole) - start) for start in range(0, len(whole), PART)]
    vectors = Vectors(
        sizes, whole.shape[1], lambda part: np.asarray(whole[part * PART : (part + 1) * PART])
    )
    asked = {"kind": kind, "storage": storage}
    if (kind, storage) != ("flat", "float32"):
        asked["min_recall"] = min_recall
    started, clock = time.process_time(), time.perf_counter()
    made = choose_index(vectors, IndexSettings(**asked))
    with tempfile.NamedTemporaryFile() as file:
        faiss.write_index(made.index, file.name)
        size = Path(file.name).stat().st_size
    return {
        "kind": kind,
        "storage": storage,
        "cpu_seconds": round(time.process_time() - started, 1),
        "seconds": round(time.perf_counter() - clock, 1),
        "bytes": size,
        "recall@10": round(made.recall, 4),
        "latency_ms": made.latency_ms,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **made.parameters,
        **({"instead": made.instead} if made.instead else {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", help="ignored: the vectors are drawn")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--min-recall", type=float, default=0.95)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(*args.child, args.min_recall)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        draw(path, args.images, args.dimension)
        baseline: dict[str, Any] = {}
        for kind in args.kinds:
            for storage in args.storages:
                done = subprocess.run(
                    [sys.executable, "-m", "tests.benchmarks.bench_index",
                     "--min-recall", str(args.min_recall), "--child", str(path), kind, storage],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                line = json.loads(done.stdout.splitlines()[-1])
                baseline = baseline or line
                print(
                    json.dumps(
                        {
                            "benchmark": "index",
                            "images": args.images,
                            "dimension": args.dimension,
                            **line,
                            "baseline": f"{baseline['kind']}, {baseline['storage']}",
                            "ratio": round(line["latency_ms"] / baseline["latency_ms"], 4),
                            "bytes_ratio": round(line["bytes"] / baseline["bytes"], 3),
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
