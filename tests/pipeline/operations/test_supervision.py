"""Real programs that end by themselves, take too long, or are told to end with this process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time

from pipeline.config import PROJECT
from pipeline.operations.supervision import run_supervised


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def supervised(code: str, *, hours: float = 1.0) -> tuple[int, list[str]]:
    log, lines = logging.Logger("test"), Lines()
    log.addHandler(lines)
    status = run_supervised([sys.executable, "-c", code], os.environ, log, hours=hours)
    return status, lines.lines


def test_status_and_output_of_both_streams() -> None:
    status, lines = supervised("import os; print(os.getcwd()); os.write(2, b'\\xff\\n'); exit(3)")
    assert status == 3
    assert sorted(lines) == sorted([str(PROJECT), "\ufffd"])


def test_a_program_that_takes_too_long_is_asked_to_end() -> None:
    code = "import time; print('begins', flush=True); time.sleep(600)"
    started = time.monotonic()
    status, lines = supervised(code, hours=1 / 3600)
    assert status == -signal.SIGTERM
    assert time.monotonic() - started < 60
    assert lines == ["begins", "The run is ended: it took more than 0.000277778 h."]


def test_when_the_supervisor_is_told_to_end_so_is_the_program(tmp_path) -> None:
    pid = tmp_path / "pid"
    inner = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    outer = (
        "import logging, os, sys\n"
        "from pipeline.operations.supervision import run_supervised\n"
        f"run_supervised([sys.executable, '-c', {inner!r}], os.environ, logging.getLogger(),"
        " hours=1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", outer], cwd=PROJECT)
    deadline = time.monotonic() + 120
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return
    raise AssertionError("the program goes on without its supervisor")
