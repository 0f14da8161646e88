"""A forked program is to who starts it what a new interpreter would be."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forking import quick_python


@pytest.fixture(params=["real", "forked"])
def start(request, tmp_path):
    """Starts code in either; both have to do the same."""
    python = sys.executable if request.param == "real" else quick_python(())
    path = tmp_path / "local_runner.py"  # the name of what is forked

    def start(code: str, **options) -> subprocess.Popen[str]:
        path.write_text(code)
        return subprocess.Popen(
            [python, str(path), "one", "two"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    return start


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def test_arguments_environment_folder_streams_and_status(start, tmp_path) -> None:
    code = (
        "import os, sys\n"
        "for one in (sys.stdout, sys.stderr): one.reconfigure(errors='backslashreplace')\n"
        "print(sys.argv[1:], os.environ['MINE'], os.getcwd(), __name__, sys.path[0])\n"
        "sys.exit('told at the end')"
    )
    process = start(code, env={**os.environ, "MINE": "here"}, cwd=tmp_path)
    output, errors = process.communicate()
    assert output == f"['one', 'two'] here {tmp_path} __main__ {tmp_path}\n"
    assert errors == "told at the end\n"
    assert process.returncode == 1


def test_an_exception_is_status_1_with_a_traceback(start) -> None:
    process = start("raise ValueError('no such thing')")
    _, errors = process.communicate()
    assert errors.endswith("ValueError: no such thing\n")
    assert process.returncode == 1


def test_a_signal_reaches_the_code_and_is_the_status(start) -> None:
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM
    assert gone(pid)


def test_who_is_killed_does_not_work_on(start) -> None:
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    assert gone(pid)


def test_open_files_and_their_locks_are_handed_on(start, tmp_path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = f"import os, time; os.write({lock.fileno()}, b'mine'); print(1, flush=True); input()"
        process = start(code, pass_fds=[lock.fileno()], stdin=subprocess.PIPE)
        process.stdout.readline()
    with (tmp_path / "lock").open() as other:
        assert other.read() == "mine"
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.communicate("\n")
        assert process.returncode == 0
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_it_starts_is_forked_too_and_other_code_is_not() -> None:
    python = quick_python(())
    code = "import sys; print(sys.executable)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout != f"{python}\n"
    assert Path(done.stdout.strip()).samefile(sys.executable)
