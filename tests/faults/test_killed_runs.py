"""Runs that are killed, and told to end: what is left, and what the next ones make of it."""

from __future__ import annotations

import os
import signal

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.metadata import open_store, read_latest, read_runs
from pipeline.operations import settle_local
from pipeline.runtime import LockedError, hold_lock, own_scratch
from tests.faults.processes import Started, is_gone, wait_for

pytestmark = pytest.mark.slow


def states(pipeline: Started) -> list[int]:
    store = open_store(pipeline.config, readonly=True)
    return [execution.last_known_state for execution in store.get_executions()]


def test_a_killed_run_is_closed_and_its_temporary_files_go_with_the_next(tmp_path) -> None:
    pipeline = Started(tmp_path)
    with pipeline.stopped_at_its_first_node("run"):
        worker = pipeline.worker
        assert [run.state for run in read_runs(pipeline.config)] == ["running"]
        assert [node.state for node in read_latest(pipeline.config)[0].nodes] == ["running"]
        (pipeline.scratch / "left by a library").write_text("x")
        with (
            pytest.raises(LockedError, match=rf"'run' \(pid {worker}"),
            hold_lock(pipeline.config, "run"),
        ):
            pass
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: is_gone(worker))
    # Nobody has closed it, and everybody says the same.
    assert states(pipeline) == [proto.Execution.RUNNING]
    assert [run.state for run in read_runs(pipeline.config)] == ["killed"]
    assert [node.state for node in read_latest(pipeline.config)[0].nodes] == ["killed"]
    # What the next run does before its first node.
    with hold_lock(pipeline.config, "run"), own_scratch(pipeline.config) as scratch:
        assert list(scratch.iterdir()) == []
        settle_local(pipeline.config)
    assert not scratch.exists()
    assert states(pipeline) == [proto.Execution.CANCELED]
    assert [run.state for run in read_runs(pipeline.config)] == ["killed"]
    assert [node.state for node in read_latest(pipeline.config)[0].nodes] == ["killed"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_run_ends_with_the_retrain_that_started_it(tmp_path, number) -> None:
    pipeline = Started(tmp_path)
    with pipeline.stopped_at_its_first_node("retrain") as retrain:
        worker = pipeline.worker
        assert worker != retrain.pid
        # A group of its own, so that all it has started can be ended with it.
        assert os.getpgid(worker) == worker
        os.kill(retrain.pid, number)
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: is_gone(worker))
        code = retrain.wait(60)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    # It was told and not killed, so it has tidied up.
    assert not pipeline.scratch.exists()
    assert states(pipeline) == [proto.Execution.CANCELED]
    assert [run.state for run in read_runs(pipeline.config)] == ["killed"]
    with hold_lock(pipeline.config, "test"):
        pass
