"""Pushes models in processes that it kills: `python -m tests.components.push_server KIND`.

KIND is `ours` or `tfx`, the executor. For each line `MODEL SERVING ARCHIVE MILLISECONDS` of the
standard input it forks a process that pushes, kills it after that time (never if negative), and
answers with the seconds that a whole push took, or `killed`. The libraries are loaded once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

from tfx.components.pusher.executor import Executor as TfxExecutor
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts

from components.pusher import Pusher
from components.pusher.executor import Executor


def push(kind: str, model: str, serving: str, archive: str, keep: int = 0) -> object:
    """Runs an executor; returns the artifact of the pushed model."""
    source, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    source.uri, pushed.uri = model, archive
    blessing.set_int_custom_property("blessed", 1)
    node = Pusher(
        model=channel.Channel(standard_artifacts.Model),
        model_blessing=channel.Channel(standard_artifacts.ModelBlessing),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving)
        ),
        keep_versions=keep,
    )
    {"ours": Executor, "tfx": TfxExecutor}[kind]().Do(
        {"model": [source], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        dict(node.exec_properties),
    )
    return pushed


def main() -> None:
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        model, serving, archive, milliseconds = line.split()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            status = 0
            try:
                push(sys.argv[1], model, serving, archive)
            except BaseException:
                traceback.print_exc()
                status = 1
            os._exit(status)
        if float(milliseconds) >= 0:
            time.sleep(float(milliseconds) / 1000)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seconds = f"{time.monotonic() - started:.6f}"
        answer = "killed" if os.WIFSIGNALED(status) else seconds if status == 0 else "failed"
        print(answer, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
