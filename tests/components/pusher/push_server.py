"""Pushes models in processes that it kills: `python -m tests.components.pusher.push_server KIND`.

KIND is `ours` or `tfx`, the executor. For each line `MODEL SERVING ARCHIVE PROGRESS` of the
standard input it forks a process that pushes, and answers `done`, `killed` or `failed`. It kills
the process when the serving folder has grown by so much of the model's bytes; at 1 and more, so
many tenths of a second after all of them are there; never if negative. The libraries are loaded
once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from tfx.components.pusher.executor import Executor as TfxExecutor
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts

from components.index_gen import Index
from components.pusher import Pusher
from components.pusher.executor import Executor
from components.report_gen import EvaluationReport


class UntriedExecutor(Executor):
    """Ours, for models that have the layout of one and no sense; real ones are tried elsewhere."""

    CHECK = None


def push(
    kind: str,
    model: str,
    serving: str,
    archive: str,
    keep: int = 0,
    blessing_folder: str = "",
    index: Index | None = None,
    nearest_up_to: int = 0,
    report: EvaluationReport | None = None,
) -> object:
    """Runs an executor; returns the artifact of the pushed model."""
    source, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    source.uri, pushed.uri, blessing.uri = model, archive, blessing_folder
    blessing.set_int_custom_property("blessed", 1)
    node = Pusher(
        model=channel.Channel(standard_artifacts.Model),
        model_blessing=channel.Channel(standard_artifacts.ModelBlessing),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving)
        ),
        keep_versions=keep,
        nearest_up_to=nearest_up_to,
    )
    {"ours": UntriedExecutor, "tfx": TfxExecutor}[kind]().Do(
        {
            "model": [source],
            "model_blessing": [blessing],
            "index": [index] if index else [],
            "report": [report] if report else [],
        },
        {"pushed_model": [pushed]},
        dict(node.exec_properties),
    )
    return pushed


def sizes(folder: str) -> dict[str, int]:
    """Bytes by path of the files in a folder at this moment."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[f"{path}/{name}"] = (Path(path) / name).stat().st_size
    return found


def kill_at(child: int, progress: float, model: str, serving: str) -> int:
    """Kills a process at a point of its push; returns its status, also if it has ended before."""
    # Not what an earlier kill has left, which the push removes.
    before, whole = set(sizes(serving)), sum(sizes(model).values())

    def copied() -> int:
        return sum(size for path, size in sizes(serving).items() if path not in before)

    while copied() < min(progress, 1) * whole:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
    time.sleep(max(progress - 1, 0) / 10)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main() -> None:
    print("ready", flush=True)  # noqa: T201
    for number, line in enumerate(sys.stdin):
        model, serving, archive, progress = line.split()
        child = os.fork()
        if child == 0:
            status = 0
            try:
                if sys.argv[1] == "tfx":
                    # Its versions are seconds, and it skips one that exists: each push has its own.
                    now = time.time() + number
                    time.time = lambda now=now: now
                push(sys.argv[1], model, serving, archive)
            except BaseException:
                traceback.print_exc()
                status = 1
            os._exit(status)
        if float(progress) < 0:
            _, status = os.waitpid(child, 0)
        else:
            status = kill_at(child, float(progress), model, serving)
        answer = "killed" if os.WIFSIGNALED(status) else "failed" if status else "done"
        print(answer, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
