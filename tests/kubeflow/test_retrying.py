"""What is tried again in a pod: failures that pass, told from those that do not."""

from __future__ import annotations

import errno
import os
import urllib.parse

import pg8000.dbapi
import pytest
import tensorflow as tf
from ml_metadata import errors

from kubeflow import retrying
from kubeflow.node import TerminatedError
from kubeflow.retrying import may_pass, patiently
from pipeline.metadata import connect_store
from pipeline.runtime import ConfigError, MetadataError, NodeFailedError
from tests import databases

STALE = OSError(errno.ESTALE, "Stale file handle")


def failed(cause: Exception) -> NodeFailedError:
    error = NodeFailedError("Trainer failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (STALE, True),
        (failed(STALE), True),
        (failed(tf.errors.UnavailableError(None, None, "503")), True),
        (failed(errors.InternalError("PostgreSQL metadata source error: ")), True),
        (MetadataError("cannot be used"), True),
        (RuntimeError(f"Traceback …\n{STALE!s} [while running 'Write']"), True),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (failed(tf.errors.NotFoundError(None, None, "404")), False),
        (failed(ValueError("loss is NaN")), False),
        (errors.NotFoundError("no such type"), False),
        (ConfigError("data.path"), False),
        (failed(TerminatedError("stopped by SIGTERM")), False),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", found.append)
    return found


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def action() -> int:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return 7

    return calls, action


def test_each_wait_is_longer_and_each_failure_is_told(waits, caplog) -> None:
    calls, action = failing(2, STALE)
    assert patiently("Trainer", action, 3) == 7
    assert (len(calls), waits) == (3, [10, 20])
    assert "Trainer failed, try 1 of 4; the next one in 10 s: [Errno" in caplog.text


def test_tries_are_bounded_and_other_failures_end_at_once(waits) -> None:
    calls, action = failing(9, STALE)
    with pytest.raises(OSError, match="Stale"):
        patiently("Trainer", action, 2)
    assert (len(calls), waits) == (3, [10, 20])
    calls, action = failing(9, ValueError("NaN"))
    with pytest.raises(ValueError, match="NaN"):
        patiently("Trainer", action, 2)
    assert len(calls) == 1


@pytest.mark.parametrize("metadata_url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ends(metadata_url) -> None:
    store = connect_store(metadata_url)
    url = urllib.parse.urlsplit(metadata_url)
    other = pg8000.dbapi.connect(
        user=databases.USER, password=databases.PASSWORD, host=url.hostname, port=url.port,
        database=url.path.strip("/"),
    )  # fmt: skip
    cursor = other.cursor()
    cursor.execute(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where pid <> pg_backend_pid() and usename = %s",
        (databases.USER,),
    )
    assert cursor.fetchone()[0] >= 1
    other.close()
    with pytest.raises(errors.StatusError) as lost:
        store.get_context_types()
    assert may_pass(lost.value)
    connect_store(metadata_url).get_context_types()
    assert os.environ["METADATA_USERNAME"] == databases.USER
