"""The lock between real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import Config, parse_config
from pipeline.config.paths import PROJECT
from pipeline.runtime import ConfigError, LockedError
from pipeline.runtime.lock import LOCK_VARIABLE, check_unlocked, hold_lock, is_locked, lock_path

HOLD = """
import sys
from pipeline.config import parse_config
from pipeline.runtime.lock import hold_lock, lock_path
config = parse_config({"pipeline": {"name": "mine", "directory": sys.argv[1]},
                       "data": {"path": "x"}}, "test")
with hold_lock(config, "gc"):
    print(lock_path(config).read_text(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config(
        {"pipeline": {"name": "mine", "directory": str(tmp_path)}, "data": {"path": "x"}}, "test"
    )


def holder(config: Config, **options) -> subprocess.Popen[str]:
    """Starts a process that holds the lock until its input is closed; returns when it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, config.pipeline.directory],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert json.loads(process.stdout.readline())["pid"] == process.pid
    return process


def test_the_second_is_refused_with_the_name_of_the_first(config) -> None:
    first = holder(config)
    try:
        with (
            pytest.raises(LockedError, match=rf"'gc' \(pid {first.pid} on .*kill {first.pid}"),
            hold_lock(config, "retrain"),
        ):
            pass
        with pytest.raises(LockedError, match=f"pid {first.pid}"):
            check_unlocked(config)
        assert is_locked(config)
    finally:
        first.communicate("")
    assert not is_locked(config)
    check_unlocked(config)
    with hold_lock(config, "retrain"):
        pass


def test_a_killed_holder_frees_it_and_what_it_wrote_is_not_believed(config) -> None:
    first = holder(config)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert json.loads(lock_path(config).read_text())["pid"] == first.pid
    assert not is_locked(config)
    with hold_lock(config, "retrain"):
        assert json.loads(lock_path(config).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"pid": 1}', b"[]"])
def test_a_holder_that_cannot_be_named_still_holds_it(config, content: bytes) -> None:
    with hold_lock(config, "retrain"):
        lock_path(config).write_bytes(content)
        with (
            pytest.raises(LockedError, match="in use: another process holds"),
            hold_lock(config, "gc"),
        ):
            pass


def test_it_is_shared_with_a_process_it_is_handed_to_and_stays_until_both_have_ended(
    config,
) -> None:
    with hold_lock(config, "retrain") as lock:
        second = holder(config, env=os.environ | {LOCK_VARIABLE: str(lock)}, pass_fds=[lock])
    try:
        assert is_locked(config)  # this process has let it go, the other has not
        with pytest.raises(LockedError, match=f"pid {second.pid}"), hold_lock(config, "gc"):
            pass
    finally:
        second.communicate("")
    assert not is_locked(config)


def test_it_names_the_one_who_handed_it_over_when_the_other_has_ended(config) -> None:
    with hold_lock(config, "retrain") as lock:
        before = lock_path(config).read_text()
        second = holder(config, env=os.environ | {LOCK_VARIABLE: str(lock)}, pass_fds=[lock])
        second.communicate("")
        assert is_locked(config)
        assert lock_path(config).read_text() == before


def test_the_number_of_another_file_is_no_lock(config, tmp_path, monkeypatch) -> None:
    first = holder(config)
    try:
        with (tmp_path / "other").open("w") as other:
            monkeypatch.setenv(LOCK_VARIABLE, str(other.fileno()))
            with pytest.raises(LockedError), hold_lock(config, "retrain"):
                pass
    finally:
        first.communicate("")


def test_pipelines_do_not_block_one_another(config, tmp_path) -> None:
    other = config.model_copy(
        update={"pipeline": config.pipeline.model_copy(update={"name": "other"})}
    )
    with hold_lock(config, "retrain"), hold_lock(other, "retrain"):
        assert is_locked(config)
        assert is_locked(other)


@pytest.mark.parametrize("kind", ["link", "dead link", "folder", "pipe"])
def test_what_is_no_file_is_neither_written_to_nor_waited_for(config, tmp_path, kind) -> None:
    target = tmp_path / "precious"
    if kind != "dead link":
        target.write_text("kept")
    path = lock_path(config)
    path.parent.mkdir(parents=True)
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}.get(
        kind, lambda: path.symlink_to(target)
    )()
    with pytest.raises(ConfigError, match="must be a file"), hold_lock(config, "run"):
        pass
    assert (target.read_text() if target.exists() else "") == (
        "kept" if kind != "dead link" else ""
    )
