"""Exact search and scores in galleries that need not fit into memory, through the Beam transform.

    python -m tests.benchmarks.bench_retrieval_search [--queries 20000] [--gallery 250000 500000 …]

Synthetic unit vectors of 128 dimensions, about 20 to a class, made inside the pipeline, 1,024 at a
time. Queries are other vectors of the same classes. Scores: all of `score_names([1, 10])`, which
need 20 neighbours and more per query.

For each size of the gallery a child process runs the pipeline with Beam's in-process runner, which
keeps every shuffle and side input in memory; its peak resident memory is the child's ru_maxrss. The
baseline, in a child of its own, is faiss IndexFlatL2 with all vectors in memory, the 21 nearest of
the same queries and no scores. One line per size, and one for the exponent of growth between the
first and the last. One line for two worker processes against one process on one core, at the first
size: twice as fast is what two cores can give.

Last, the inner block of the search, 256 × 2,048 squared distances of 128 dimensions in one thread:
numpy as `modules.retrieval.search` has it, TensorFlow's matmul in its place, and faiss's
pairwise_distances; microseconds, the best of several hundred.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import faiss
import numpy as np

from modules.retrieval import COUNTS, score_names
from modules.retrieval.order import LabelledRows
from modules.retrieval.search import QUERY_TILE, QueryTile, search_threads
from modules.retrieval.shards import GALLERY_TILE, GalleryTile
from modules.retrieval.transforms import ScoredQueries, ScoreQueries
from pipeline.config.pipeline import LOCAL_BEAM

KS = [1, 10]
LIBRARIES = ("numpy", "tensorflow", "faiss")
DIMENSIONS = 128
PER_CLASS = 20
BATCH = 1024


@functools.cache
def centres(classes: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((classes, DIMENSIONS), dtype=np.float32)


def vectors(kind: str, batch: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and unit vectors of one batch, the same in every process."""
    rng = np.random.default_rng([batch, kind == "query"])
    labels = rng.integers(0, classes, rows)
    values = rng.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    values += centres(classes)[labels]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return labels, values


def batches(kind: str, total: int, classes: int) -> Iterator[tuple[str, int, int, int]]:
    for batch, start in enumerate(range(0, total, BATCH)):
        yield kind, batch, min(BATCH, total - start), classes


def make_rows(kind: str, batch: int, rows: int, classes: int) -> LabelledRows:
    labels, values = vectors(kind, batch, rows, classes)
    ids = np.array([b"%s/%05d/%04d" % (kind.encode(), batch, i) for i in range(rows)], object)
    return LabelledRows(ids, np.array([b"%d" % label for label in labels], object), {"": values})


def sums(scored: ScoredQueries) -> np.ndarray:
    return np.nansum(scored.by_model[""].scores, axis=0)


def write_means(total: np.ndarray, path: str) -> None:
    values = dict(zip([*score_names(KS), *COUNTS], total.tolist(), strict=True))
    scored = values["queries"] - values["excluded_queries"]
    means = {name: round(values[name] / scored, 4) for name in ("precision@1", "map@r")}
    Path(path).write_text(json.dumps(means))


def search_with_beam(queries: int, gallery: int, workers: int) -> dict[str, float]:
    args = list(LOCAL_BEAM)
    if workers > 1:
        args += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    classes = gallery // PER_CLASS
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "means.json"
        started = time.perf_counter()
        with beam.Pipeline(argv=args) as pipeline:
            rows = {
                kind: pipeline
                | f"{kind} batches" >> beam.Create(list(batches(kind, total, classes)))
                | f"{kind} spread" >> beam.Reshuffle()
                | f"{kind} rows" >> beam.MapTuple(make_rows)
                for kind, total in (("query", queries), ("gallery", gallery))
            }
            scored = rows["query"] | ScoreQueries(KS, rows["gallery"])
            total = scored | beam.Map(sums) | beam.CombineGlobally(sum)
            _ = total | beam.Map(write_means, str(result))
        seconds = time.perf_counter() - started
        return {"seconds": seconds, **json.loads(result.read_text())}


def search_with_faiss(queries: int, gallery: int) -> dict[str, float]:
    classes = gallery // PER_CLASS
    rows = [
        np.concatenate([vectors(*batch)[1] for batch in batches(kind, total, classes)])
        for kind, total in (("query", queries), ("gallery", gallery))
    ]
    started = time.perf_counter()
    index = faiss.IndexFlatL2(DIMENSIONS)
    index.add(rows[1])
    index.search(rows[0], PER_CLASS + 1)
    return {"seconds": time.perf_counter() - started}


def inner_blocks() -> dict[str, float]:
    """Microseconds of one block, by library. In one thread: no library has set up its own yet."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    faiss.omp_set_num_threads(1)
    _, queries = vectors("query", 0, QUERY_TILE, 10)
    _, gallery = vectors("gallery", 0, GALLERY_TILE, 10)
    tile = QueryTile(np.arange(QUERY_TILE), queries, np.zeros(QUERY_TILE, np.int32), 1)
    gallery_tile = GalleryTile(0, np.zeros(GALLERY_TILE, np.int32), gallery)
    nobody, out = np.full(QUERY_TILE, -1), np.empty((QUERY_TILE, GALLERY_TILE), np.float32)
    factor = tf.constant(-2 * queries)
    squares = [tf.reduce_sum(tf.constant(rows) ** 2, axis=1) for rows in (queries, gallery)]

    @tf.function
    def with_tensorflow(rows: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(factor, rows, transpose_b=True)
        return tf.maximum(product + squares[0][:, None] + squares[1], 0)

    rows = tf.constant(gallery)
    blocks = {
        "numpy": lambda: tile.distances(gallery_tile, nobody, out),
        "tensorflow": lambda: with_tensorflow(rows).numpy(),
        "faiss": lambda: faiss.pairwise_distances(queries, gallery),
    }
    with search_threads():  # BLAS in one thread
        expected = blocks["numpy"]().copy()
        best = {}
        for name, block in blocks.items():
            np.testing.assert_allclose(block(), expected, atol=1e-5)
            seconds = []
            for _ in range(300):
                started = time.perf_counter()
                block()
                seconds.append(time.perf_counter() - started)
            best[name] = min(seconds) * 1e6
    return best


def in_child(what: str, queries: int, gallery: int, workers: int = 1) -> dict[str, float]:
    """Runs one search in a process of its own; with 0 workers, on one core."""
    # Imported, not run with -m: worker processes must find its functions by the module's name.
    code = f"from {__spec__.name} import main; main()"
    command = [sys.executable, "-c", code, "--child", what]
    command += ["--queries", str(queries), "--gallery", str(gallery), "--workers", str(workers)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def child(what: str, queries: int, gallery: int, workers: int) -> None:
    before = time.process_time()  # of imports
    if not workers:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if what == "blocks":
        result = inner_blocks()
    elif what == "faiss":
        result = search_with_faiss(queries, gallery)
    else:
        result = search_with_beam(queries, gallery, workers)
    # ru_maxrss is in KiB on Linux; of several workers the largest counts.
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result["cpu_seconds"] = sum(u.ru_utime + u.ru_stime for u in usages) - before
    result["peak_gib"] = max(usage.ru_maxrss for usage in usages) / 2**20
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--gallery", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--idx", help="not used: the vectors are synthetic")
    parser.add_argument("--child", choices=["beam", "faiss", "blocks"], help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.queries, args.gallery[0], args.workers)
        return
    seconds = []
    for gallery in args.gallery:
        ours = in_child("beam", args.queries, gallery)
        baseline = in_child("faiss", args.queries, gallery)
        seconds.append(ours["seconds"])
        line = {
            "benchmark": "retrieval search",
            "queries": args.queries,
            "gallery": gallery,
            **{name: round(value, 3) for name, value in ours.items()},
            "cores_busy": round(ours["cpu_seconds"] / ours["seconds"], 2),
            "baseline": "faiss IndexFlatL2, neighbours only",
            "baseline_seconds": round(baseline["seconds"], 2),
            "ratio": round(ours["seconds"] / baseline["seconds"], 2),
        }
        print(json.dumps(line), flush=True)
    if len(seconds) > 1:
        growth = math.log(seconds[-1] / seconds[0]) / math.log(args.gallery[-1] / args.gallery[0])
        print(json.dumps({"benchmark": "retrieval search", "growth_exponent": round(growth, 2)}))
    one = in_child("beam", args.queries, args.gallery[0], workers=0)
    two = in_child("beam", args.queries, args.gallery[0], workers=2)
    line = {
        "benchmark": "retrieval search, 2 worker processes",
        "queries": args.queries,
        "gallery": args.gallery[0],
        "seconds": round(two["seconds"], 2),
        "cores_busy": round(two["cpu_seconds"] / two["seconds"], 2),
        "baseline": "the same with 1 process on 1 core",
        "baseline_seconds": round(one["seconds"], 2),
        "baseline_cores_busy": round(one["cpu_seconds"] / one["seconds"], 2),
        "ratio": round(two["seconds"] / one["seconds"], 2),
    }
    print(json.dumps(line), flush=True)
    blocks = in_child("blocks", QUERY_TILE, GALLERY_TILE, workers=0)
    line = {
        "benchmark": "retrieval search, inner block of 256 x 2,048 x 128, 1 thread",
        **{f"{name}_microseconds": round(blocks[name]) for name in LIBRARIES},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
