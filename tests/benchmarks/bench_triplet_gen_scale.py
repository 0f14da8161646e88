"""TripletGen's executor on up to a million examples of 50,000 classes: seconds and memory.

    python -m tests.benchmarks.bench_triplet_gen_scale [--idx DIR]

An example is 256 random bytes in the place of an image; class c has about 1 / (c + 50) of the
examples, from 3,000 down to 2 or 3. Eight gzipped TFRecord files of 125,000 examples are written
first, which is not counted. Then the executor runs on two, four and eight of them, each time in a
process of its own, Beam's start-up included, imports not. Peak memory is that of the whole process,
so it begins with what TensorFlow, TFX and Beam take (`imported_mb`).

`--idx` is there because `make bench` gives it to all benchmarks; it has no effect.

Prints one JSON line per size, and one with the slope of log seconds over log examples: 1 is linear.
Seconds of the processor are less disturbed by other work on the machine than those of the clock.
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

import numpy as np

FILES, PER_FILE, CLASSES, IMAGE_BYTES = 8, 125_000, 50_000, 256
SIZES = (2, 4, 8)  # files


def write_examples(folder: Path) -> None:
    """Writes the eight files, each with a random part of the examples."""
    import tensorflow as tf

    from modules.contract import make_example

    rng = np.random.default_rng(0)
    weights = 1 / (np.arange(CLASSES) + 50)
    sizes = np.maximum(2, weights / weights.sum() * FILES * PER_FILE).astype(int)
    sizes[0] += FILES * PER_FILE - sizes.sum()
    labels = rng.permutation(np.repeat(np.arange(CLASSES), sizes))
    for number in range(FILES):
        path = folder / f"data_tfrecord-{number:05d}-of-{FILES:05d}.gz"
        pixels = rng.bytes(PER_FILE * IMAGE_BYTES)
        options = tf.io.TFRecordOptions("GZIP", compression_level=1)
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for i in range(PER_FILE):
                row = number * PER_FILE + i
                image = pixels[i * IMAGE_BYTES : (i + 1) * IMAGE_BYTES]
                example = make_example(image, b"class-%d" % labels[row], b"images/%07d.png" % row)
                writer.write(example.SerializeToString())


def run_node(examples_uri: str, output_uri: str) -> None:
    """Runs the executor in this process and prints what it took."""
    import apache_beam as beam
    from tfx.types import artifact_utils, standard_artifacts

    from components.triplet_gen.executor import Executor
    from tests.real_data import BEAM_ARGS

    examples, triplets = standard_artifacts.Examples(), standard_artifacts.Examples()
    examples.uri, triplets.uri = examples_uri, output_uri
    examples.split_names = artifact_utils.encode_split_names(["train"])
    context = Executor.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=BEAM_ARGS))
    imported = _peak_mb()
    started, started_cpu = time.perf_counter(), time.process_time()
    Executor(context).Do(
        {"examples": [examples]},
        {"triplets": [triplets]},
        {"train_split": "train", "eval_split": "eval"},
    )
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - started_cpu
    shards = [path.stat().st_size for path in Path(output_uri, "Split-train").iterdir()]
    result = {
        "triplets": triplets.get_int_custom_property("triplets"),
        "classes": triplets.get_int_custom_property("classes"),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "triplets_per_s": round(triplets.get_int_custom_property("triplets") / seconds),
        "imported_mb": imported,
        "peak_mb": _peak_mb(),
        "shards": len(shards),
        "largest_shard_mb": round(max(shards) / 2**20, 1),
        "output_mb": round(sum(shards) / 2**20),
    }
    print(json.dumps(result))


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="not used: the examples are synthetic")
    parser.add_argument("--node", nargs=2, metavar=("EXAMPLES", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.node:
        return run_node(*arguments.node)

    results = []
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch, "all")
        everything.mkdir()
        write_examples(everything)
        files = sorted(everything.iterdir())
        for count in SIZES:
            split = Path(scratch, f"{count}", "Split-train")
            split.mkdir(parents=True)
            for path in files[:count]:
                (split / path.name).hardlink_to(path)
            with tempfile.TemporaryDirectory() as output:
                command = [sys.executable, "-m", __spec__.name, "--node", str(split.parent), output]
                child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            result = json.loads(child.stdout.splitlines()[-1])
            results.append(result)
            line = {"benchmark": "triplet_gen_scale", "examples": count * PER_FILE} | result
            print(json.dumps(line), flush=True)
    slopes = {
        f"log_log_slope_{name}": round(
            np.polyfit(np.log(SIZES), np.log([result[name] for result in results]), 1)[0], 2
        )
        for name in ("seconds", "cpu_seconds")
    }
    print(json.dumps({"benchmark": "triplet_gen_scale"} | slopes))
    return None


if __name__ == "__main__":
    main()
