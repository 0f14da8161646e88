"""Many nights of one pipeline by its real commands: `python -m tests.faults.soak --nights 50`.

Each night a new span of digits arrives, `retrain` runs, and `gc` removes what nothing needs. After
each, one JSON line says what is there. In the end: folders for temporary files are empty, the disk,
the memory and the processor time of a run are what they were, and the database has grown by the
same each night. Ends with 1 if one of these does not hold.

A night takes a minute here, and a day for `gc`, which leaves young folders alone: before each, all
that the pipeline has made becomes a day older.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.config import PROJECT
from pipeline.runtime import end_when_told
from tests.real_data import digits

CONFIG = """
[pipeline]
name = "soak"
directory = "{root}"
keep_versions = 3
[data]
path = "{root}/data"
format = "images"
split = "hash"
pattern = "night-{{SPAN}}/*/*"
window = 3
[image]
height = 28
width = 28
channels = 1
[audit]
enabled = false
[training]
steps = 4
batch_size = 60
validate_every = 4
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.0
"""
KEPT_RUNS = 3
# From here on as many spans, runs and versions are kept as ever will be.
SETTLED = 4
_DAY = 24 * 3600.0


def arrives(root: Path, night: int, per_class: int) -> None:
    """Other images each night, as long as there are any."""
    for image, label, name in digits(per_class, start=night * per_class % 400):
        path = root / "data" / f"night-{night}" / label.decode() / f"{Path(name.decode()).name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)


def becomes_older(folder: Path) -> None:
    """Sets the times of all files and folders back by a day."""
    for path in [folder, *folder.rglob("*")]:
        before = path.lstat()
        times = (before.st_atime - _DAY, before.st_mtime - _DAY)
        os.utime(path, times, follow_symlinks=False)


def call(root: Path, *command: str) -> float:
    """Runs a command, with a folder for temporary files of its own; returns processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    (root / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *command, "--config", str(root / "soak.toml")],
        cwd=PROJECT, env={**os.environ, "TMPDIR": str(root / "tmp")}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def measure(root: Path, night: int, seconds: float) -> dict[str, float]:
    work = root / "soak"
    log = (work / "logs" / "retrain.log").read_text()
    return {
        "night": night,
        "artifacts_megabytes": size(work / "artifacts") / 1e6,
        "files_and_folders": len(list(work.rglob("*"))),
        "serving_megabytes": size(work / "serving") / 1e6,
        "versions": len(list((work / "serving").glob("[0-9]*"))),
        "database_kilobytes": (work / "metadata.sqlite").stat().st_size / 1e3,
        "temporary_files": len(list((root / "tmp").rglob("*"))) + (work / "tmp").exists(),
        # The most of any process until now: it cannot fall.
        "memory_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
        "processor_seconds": seconds,
        "log_lines": log.count("\n"),
    }


def faults(nights: list[dict[str, float]]) -> list[str]:
    """What has grown that should not have, from the night on at which everything is kept once."""
    found = []
    if any(night["temporary_files"] for night in nights):
        found.append("temporary files were left")
    settled = nights[SETTLED:]
    if len(settled) < 2:
        return found
    first, last = settled[0], settled[-1]
    for name, most in (
        ("artifacts_megabytes", 1.2),
        ("files_and_folders", 1.2),
        ("serving_megabytes", 1.2),
        ("memory_megabytes", 1.2),
        ("versions", 1.0),
    ):
        if last[name] > most * first[name]:
            found.append(f"{name} has grown from {first[name]:.1f} to {last[name]:.1f}")
    growth = [
        b["database_kilobytes"] - a["database_kilobytes"] for a, b in itertools.pairwise(settled)
    ]
    half = len(growth) // 2
    seconds = [night["processor_seconds"] for night in settled]
    if half and statistics.median(seconds[-half:]) > 1.5 * statistics.median(seconds[:half]):
        found.append(f"a night takes longer and longer: {seconds} s")
    if half and statistics.mean(growth[-half:]) > 1.5 * statistics.mean(growth[:half]) + 1:
        found.append(f"the database grows faster and faster: {growth} kB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=50)
    parser.add_argument("--images", type=int, default=6, help="of each digit, a night")
    arguments = parser.parse_args()
    end_when_told()  # its folder goes then, and what it has started
    nights = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "soak.toml").write_text(CONFIG.format(root=root))
        for night in range(arguments.nights):
            arrives(root, night, arguments.images)
            started = time.monotonic()
            seconds = call(root, "retrain")
            becomes_older(root / "soak" / "artifacts")
            call(root, "gc", "--keep", str(KEPT_RUNS), "--delete")
            nights.append(measure(root, night, seconds))
            wall = time.monotonic() - started
            line = json.dumps({**nights[-1], "wall_seconds": round(wall, 1)})
            print(line, flush=True)  # noqa: T201
    if found := faults(nights):
        sys.exit("; ".join(found))


if __name__ == "__main__":
    main()
