"""Pushes that are killed at any point, and what a reader of the serving folder sees of them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.pusher import versioned_push as hand_over
from modules.storage import CHECKSUMS_FILE
from pipeline.config.paths import PROJECT
from tests.components.pusher.pushed_models import contents, make_model

pytestmark = pytest.mark.slow


class Reader(threading.Thread):
    """Polls a serving folder as TensorFlow Serving does, without mercy, and notes what is half."""

    def __init__(self, serving: Path, whole: list[dict[str, int]]) -> None:
        super().__init__(daemon=True)
        self.serving, self.whole = serving, whole
        self.half: list[str] = []
        self.seen: set[str] = set()
        self.polls = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            self.poll()

    def poll(self) -> None:
        self.polls += 1
        for folder in list(self.serving.iterdir()) if self.serving.exists() else []:
            name = folder.name
            if name.isdecimal():
                self.seen.add(name)
                sizes = {
                    str((Path(path) / file).relative_to(folder)): (Path(path) / file).stat().st_size
                    for path, _, files in os.walk(folder)
                    for file in files
                    if file != CHECKSUMS_FILE
                }
                if sizes not in self.whole:
                    self.half.append(name)


def sizes(model: Path) -> dict[str, int]:
    return {name: len(content) for name, content in contents(model / "Format-Serving").items()}


def kill_pushes(kind: str, folder: Path, kills: int, megabytes: int) -> tuple[Reader, int, int]:
    """Kills pushes of two models in turn, at points spread over a whole push, under a reader.

    Two others come first: a push of what is served already would copy nothing.

    Returns the reader, how many pushes were killed, and how many of them in the hidden folder.
    """
    models = [make_model(folder / fill, fill, megabytes) for fill in "abcd"]
    first, models = models[:2], models[2:]
    serving = folder / "serving"
    reader = Reader(serving, [sizes(model) for model in first + models])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.components.pusher.push_server", kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(model: Path, progress: float) -> str:
            server.stdin.write(f"{model} {serving} {folder}/archive {progress}\n")
            server.stdin.flush()
            return server.stdout.readline().strip()

        assert server.stdout.readline() == "ready\n"
        assert [ask(model, -1) for model in first] == ["done", "done"]
        reader.start()
        killed = hidden = 0
        for number, model in zip(range(kills), itertools.cycle(models)):
            # The last third is past the copy: forcing to the disk, the rename, old versions.
            killed += ask(model, 1.5 * number / kills) == "killed"
            hidden += any(serving.glob(f"{hand_over.INCOMING}*"))
            reader.poll()
        if kind == "ours":
            assert [ask(model, -1) for model in models] == ["done", "done"]
        reader.stopped.set()
        reader.join()
        reader.poll()
        server.stdin.close()
    return reader, killed, hidden


def test_killed_at_any_point_nothing_half_is_ever_seen(tmp_path) -> None:
    reader, killed, hidden = kill_pushes("ours", tmp_path, kills=60, megabytes=32)
    assert killed >= 40
    assert hidden >= 30
    assert reader.polls > 100
    assert reader.half == []
    assert len(reader.seen) >= 4  # the first two and the last two, at least
    # The pushes that came through have removed what the killed ones had left.
    names = {path.name for path in (tmp_path / "serving").iterdir()}
    assert names == reader.seen | {hand_over.LOCK}
    newest = str(max(map(int, reader.seen)))
    assert contents(tmp_path / "serving" / newest) == contents(tmp_path / "d" / "Format-Serving")


def test_the_reader_does_see_the_half_copies_of_tfx(tmp_path) -> None:
    reader, killed, _ = kill_pushes("tfx", tmp_path, kills=16, megabytes=16)
    assert killed > 8
    assert len(set(reader.half)) > 4
