"""Exact search and scores in galleries that need not fit into memory, through the Beam transform.

    python -m tests.benchmarks.bench_retrieval_search [--queries 20000] [--gallery 250000 500000 …]

Synthetic unit vectors of 128 dimensions, about 20 to a class. Queries are other vectors of the same
classes. Scores: all of `score_names([1, 10])`, which need 20 neighbours and more per query. Neither
side is timed while vectors are made: the pipeline reads them from files, 1,024 at a time.

For each size of the gallery child processes run in turn, `--repeats` times, and the least figures
count: others may be at work on the machine. One runs the pipeline with Beam's in-process runner,
which keeps every shuffle and side input in memory; its peak resident memory is the child's
ru_maxrss, pages of files that it has mapped included. The baseline, in a child of its own, is faiss
IndexFlatL2 with all vectors in memory, the 21 nearest of the same queries and no scores. One line
per size, with the ratios of seconds and of processor time; and one for the exponent of growth
between the first and the last. One line for two worker processes against one process on one core,
at the first size: twice as fast is what two cores can give.

Before these, one line for the search and the scores alone, without Beam, against faiss in the same
process and in turn with it: 4,096 queries in the first size of the gallery.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import pickle
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
from modules.retrieval.rows import LabelledRows
from modules.retrieval.scores import QueryBlock, score_block
from modules.retrieval.shards import Shard
from modules.retrieval.transforms import SHARD_ROWS, ScoredQueries, ScoreQueries
from tests.real_data import BEAM_ARGS

KS = [1, 10]
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


def write_rows(folder: str, kind: str, batch: int, rows: int, classes: int) -> str:
    """Writes the rows of one batch to a file and returns its path."""
    labels, values = vectors(kind, batch, rows, classes)
    ids = np.array([b"%s/%05d/%04d" % (kind.encode(), batch, i) for i in range(rows)], object)
    names = np.array([b"%d" % label for label in labels], object)
    path = Path(folder) / f"{kind}-{batch}"
    path.write_bytes(pickle.dumps(LabelledRows(ids, names, {"": values})))
    return str(path)


def read_rows(path: str) -> LabelledRows:
    return pickle.loads(Path(path).read_bytes())


def sums(scored: ScoredQueries) -> np.ndarray:
    return np.nansum(scored.by_model[""].scores, axis=0)


def write_means(total: np.ndarray, path: str) -> None:
    values = dict(zip([*score_names(KS), *COUNTS], total.tolist(), strict=True))
    scored = values["queries"] - values["excluded_queries"]
    means = {name: round(values[name] / scored, 4) for name in ("precision@1", "map@r")}
    Path(path).write_text(json.dumps(means))


def search_with_beam(queries: int, gallery: int, workers: int) -> dict[str, float]:
    args = list(BEAM_ARGS)
    if workers > 1:
        args += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    classes = gallery // PER_CLASS
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "means.json"
        files = {
            kind: [write_rows(folder, *batch) for batch in batches(kind, total, classes)]
            for kind, total in (("query", queries), ("gallery", gallery))
        }
        used, started = processor_time(), time.perf_counter()
        with beam.Pipeline(argv=args) as pipeline:
            rows = {
                kind: pipeline
                | f"{kind} files" >> beam.Create(of_kind)
                | f"{kind} rows" >> beam.Map(read_rows).with_output_types(LabelledRows)
                for kind, of_kind in files.items()
            }
            scored = rows["query"] | ScoreQueries(
                KS, rows["gallery"], folder=f"{folder}/embeddings"
            )
            total = scored | beam.Map(sums) | beam.CombineGlobally(sum)
            _ = total | beam.Map(write_means, str(result))
        seconds, used = time.perf_counter() - started, processor_time() - used
        return {"seconds": seconds, "cpu_seconds": used, **json.loads(result.read_text())}


def search_with_faiss(queries: int, gallery: int) -> dict[str, float]:
    classes = gallery // PER_CLASS
    rows = [
        np.concatenate([vectors(*batch)[1] for batch in batches(kind, total, classes)])
        for kind, total in (("query", queries), ("gallery", gallery))
    ]
    used, started = processor_time(), time.perf_counter()
    index = faiss.IndexFlatL2(DIMENSIONS)
    index.add(rows[1])
    index.search(rows[0], PER_CLASS + 1)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": processor_time() - used}


def processor_time() -> float:
    """Seconds that this process and its finished children have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def alone(queries: int, gallery: int, repeats: int) -> dict[str, float]:
    """Seconds and processor time of the search without Beam and of faiss, the least of each."""
    classes = gallery // PER_CLASS
    labels, rows = {}, {}
    for kind, total in (("query", queries), ("gallery", gallery)):
        parts = [vectors(*batch) for batch in batches(kind, total, classes)]
        labels[kind] = np.concatenate([part[0] for part in parts]).astype(np.int32)
        rows[kind] = np.concatenate([part[1] for part in parts])
    ids = np.array([b"%09d" % i for i in range(gallery)], object)
    shards = [
        Shard(a, ids[a:b], labels["gallery"][a:b], {"": rows["gallery"][a:b]})
        for a in range(0, gallery, SHARD_ROWS)
        for b in [a + SHARD_ROWS]
    ]
    block = QueryBlock(
        np.array([b"query/%d" % i for i in range(queries)], object),
        labels["query"],
        np.bincount(labels["gallery"], minlength=classes)[labels["query"]],
        {"": rows["query"]},
    )
    index = faiss.IndexFlatL2(DIMENSIONS)
    index.add(rows["gallery"])
    searches = {
        "": lambda: score_block(block, shards, KS),
        "baseline_": lambda: index.search(rows["query"], PER_CLASS + 1),
    }
    best: dict[str, float] = {}
    for _ in range(repeats):
        for name, search in searches.items():
            before = time.perf_counter(), time.process_time()
            search()
            after = time.perf_counter(), time.process_time()
            for unit, a, b in zip(("seconds", "cpu_seconds"), before, after, strict=True):
                best[name + unit] = min(best.get(name + unit, math.inf), b - a)
    return best


def in_child(what: str, queries: int, gallery: int, workers: int = 1) -> dict[str, float]:
    """Runs one search in a process of its own; with 0 workers, on one core.

    `workers` of "alone" is how often it searches.
    """
    # Imported, not run with -m: worker processes must find its functions by the module's name.
    code = f"from {__spec__.name} import main; main()"
    command = [sys.executable, "-c", code, "--child", what]
    command += ["--queries", str(queries), "--gallery", str(gallery), "--workers", str(workers)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def child(what: str, queries: int, gallery: int, workers: int) -> None:
    if not workers:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if what == "alone":
        result = alone(queries, gallery, workers)
    elif what == "faiss":
        result = search_with_faiss(queries, gallery)
    else:
        result = search_with_beam(queries, gallery, workers)
    # ru_maxrss is in KiB on Linux; of several workers the largest counts.
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result["peak_gib"] = max(usage.ru_maxrss for usage in usages) / 2**20
    print(json.dumps(result))


def report(name: str, queries: int, gallery: int, figures: dict[str, float]) -> None:
    """Prints figures of ours and, from `baseline_` on, of faiss."""
    line = {
        "benchmark": name,
        "queries": queries,
        "gallery": gallery,
        **{key: round(value, 3) for key, value in figures.items()},
        "cores_busy": round(figures["cpu_seconds"] / figures["seconds"], 2),
        "baseline": "faiss IndexFlatL2, neighbours only",
        "ratio": round(figures["seconds"] / figures["baseline_seconds"], 2),
        "cpu_ratio": round(figures["cpu_seconds"] / figures["baseline_cpu_seconds"], 2),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--gallery", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--idx", help="not used: the vectors are synthetic")
    parser.add_argument("--child", choices=["beam", "faiss", "alone"], help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.queries, args.gallery[0], args.workers)
        return
    first = args.gallery[0]
    report(
        "retrieval search without Beam",
        min(4096, args.queries),
        first,
        in_child("alone", min(4096, args.queries), first, 3 * args.repeats),
    )
    seconds = []
    for gallery in args.gallery:
        runs = [
            (in_child("beam", args.queries, gallery), in_child("faiss", args.queries, gallery))
            for _ in range(args.repeats)
        ]
        line = {
            **{name: min(ours[name] for ours, _ in runs) for name in runs[0][0]},
            **{f"baseline_{name}": min(faiss[name] for _, faiss in runs) for name in runs[0][1]},
        }
        seconds.append(line["seconds"])
        report("retrieval search", args.queries, gallery, line)
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


if __name__ == "__main__":
    main()
