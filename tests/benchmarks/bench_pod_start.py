"""What a pod of Kubeflow costs before its node does anything: imports, as CPU and memory.

    python -m tests.benchmarks.bench_pod_start [--idx DIR] [--rounds N]

Each line is a new interpreter that imports one thing and ends; all take turns, and of the rounds
the one with the least CPU counts. Prints one JSON line each; `baseline` is a pod that would build
the whole pipeline, `ratio` is CPU of the baseline / CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from pipeline.config.paths import PROJECT

BASELINE = "whole pipeline"
IMPORTS = {
    BASELINE: "import tfx.v1, pipeline.definition",
    "launcher of TFX": "from tfx.orchestration.portable import launcher",
    "our entrypoint": "import kubeflow.node",
}


def measure(statement: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak resident MB of an interpreter that runs `statement`."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", statement],
        cwd=PROJECT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, statement
    cpu = usage.ru_utime + usage.ru_stime
    return cpu, time.monotonic() - started, usage.ru_maxrss / 1024


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", help="not used: nothing is read")
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args(argv).rounds
    found = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, statement in IMPORTS.items():
            found[name].append(measure(statement))
    least = {name: min(values) for name, values in found.items()}
    for name, (cpu, wall, memory) in least.items():
        line = {
            "benchmark": "pod_start",
            "imports": name,
            "baseline": name == BASELINE,
            "cpu_s": round(cpu, 2),
            "wall_s": round(wall, 2),
            "peak_mb": round(memory),
            "ratio": round(least[BASELINE][0] / cpu, 2),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
