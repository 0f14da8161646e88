"""`python -m pipeline serve` as a process: it waits for a version, answers, and ends cleanly."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from pipeline.commands import main
from pipeline.config import PROJECT
from pipeline.runtime import NotRunError, PipelineError
from tests.pipeline.served.served_versions import QUERIES, write_version

ONE = QUERIES[0][0]


def test_a_server_waits_answers_and_ends(model, tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    command = [sys.executable, "-m", "pipeline", "serve", "--model", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--wait", "--poll", "0.1"],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        with httpx.Client(base_url=url, timeout=30) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            answer = client.post("/search", content=ONE)
            assert answer.status_code == 503
            assert "no model in" in answer.json()["error"]
            write_version(folder / "3", model)
            before = sorted(folder.rglob("*"))
            deadline = time.monotonic() + 60
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert client.post("/search", content=ONE).json()["version"] == "3"
        unfinished = [begin(url) for _ in range(20)]
        time.sleep(0.5)  # all of them are under way: half of their bodies is there
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert [finish(connection) for connection in unfinished] == [200] * 20
        assert process.wait(timeout=30) == 0
        assert sorted(folder.rglob("*")) == before  # nothing was written
    finally:
        process.kill()
    said = process.stderr.read()
    assert "Waiting for a version" in said
    assert f"Version {folder}/3 answers now: 60 images to search." in said
    assert "Traceback" not in said


def begin(url: str) -> http.client.HTTPConnection:
    """Sends half of a request."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/search")
    connection.putheader("Content-Length", str(len(ONE)))
    connection.endheaders(ONE[:100])
    return connection


def finish(connection: http.client.HTTPConnection) -> int:
    """Sends the other half; the status of the answer."""
    connection.send(ONE[100:])
    status = connection.getresponse().status
    connection.close()
    return status


def test_without_a_version_it_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--model", str(tmp_path)])
    with pytest.raises(NotRunError, match="nothing was pushed"):
        raise done.exception


def test_an_address_that_is_taken_is_named(version_folder) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        arguments = ["serve", "--model", str(version_folder), "--port", port]
        try:
            done = CliRunner().invoke(main, arguments)
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)
    with pytest.raises(PipelineError, match=f"port {port}.*another --host or --port"):
        raise done.exception
