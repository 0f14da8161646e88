"""A Python that starts at once: a fork of a process that has imported the libraries and no more.

Nearly all of a short run is the start of an interpreter: seconds of imports, the same each time.
`quick_python()` is a program that takes the arguments of `python`, and hands them with its files,
environment and folder to a server that forks. What runs there is a process of its own: it gets the
signals that the program gets, ends when the program is killed, and its status is the program's.
The runs that it starts with `sys.executable` start the same way; what is no command of this project
or of TFX is left to the real interpreter.

Where the start itself is what a test is about, it takes `sys.executable`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.config.paths import PROJECT

# Nothing of it starts a thread.
_PRELOADED = ("pipeline.definition", "kubeflow.node", "kubeflow.ir", "tensorflow_model_analysis")

# New objects before the garbage collector looks: tracing makes many, and nearly all stay.
RARELY = (20_000, 20, 10)

_MODULES = ("pipeline", "kubeflow", "kubeflow.prepare", "kubeflow.node", "tfx.tools.cli.cli_main")
_RUNNER = "local_runner.py"

_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys
if not (sys.argv[1:2] == ["-m"] and sys.argv[2] in {modules!r} or sys.argv[1].endswith({runner!r})):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
files = [int(n) for n in os.listdir("/proc/self/fd") if int(n) != server.fileno()]
files = [n for n in files if n < 3 or os.path.exists("/proc/self/fd/%d" % n)]
asked = [sys.argv[0], sys.argv[1:], dict(os.environ), os.getcwd(), files]
socket.send_fds(server, [b"."], files)
asked = json.dumps(asked).encode()
server.sendall(len(asked).to_bytes(8, "big") + asked)
pid = int.from_bytes(server.recv(8), "big")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
status = server.recv(8)
code = int.from_bytes(status, "big", signed=True) if status else -signal.SIGKILL
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def quick_python(preloaded: tuple[str, ...] = _PRELOADED) -> str:
    """Path of a program that is used like `sys.executable`; its server ends with this process.

    Args:
        preloaded: What the server imports.
    """
    folder = Path(tempfile.mkdtemp())
    program, path = folder / "python", folder / "socket"
    program.write_text(
        _PROGRAM.format(python=sys.executable, path=str(path), modules=_MODULES, runner=_RUNNER)
    )
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forking", str(path), *preloaded],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        server.communicate()  # closes its input
        shutil.rmtree(folder)

    atexit.register(end)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return str(program)


def _serve(path: str, *preloaded: str) -> None:
    """Forks for each program that asks, until the input is closed."""
    for module in preloaded:
        __import__(module)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    gc.collect()
    gc.freeze()  # pages that the children share with this process
    gc.set_threshold(*RARELY)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        asking, _ = listening.accept()
        if os.fork():
            asking.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        else:
            listening.detach()  # whoever closes all files closes this one too
            if _attend(asking):
                os._exit(0)
            return  # what was asked has been done; this process ends like any other


def _attend(asking: socket.socket) -> bool:
    """Runs what is asked for in a child and tells its status; False in that child."""
    _, files, _, _ = socket.recv_fds(asking, 1, 64)
    with asking.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(stream.read(8), "big")))
    if not (pid := os.fork()):
        asking.detach()
        _run(asked, files)
        return False
    for file in files:
        os.close(file)
    asking.sendall(pid.to_bytes(8, "big"))
    ended = os.pidfd_open(pid)
    ready, _, _ = select.select([ended, asking], [], [])
    if ended not in ready:  # the program was killed
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        asking.sendall(code.to_bytes(8, "big", signed=True))
    return True


def _run(asked: list, files: list[int]) -> None:
    """Takes the place of the program; raises what its code raises."""
    program, arguments, environment, folder, numbers = asked
    high = 1 + max([*numbers, *files])
    moved = [os.dup2(file, high + at) for at, file in enumerate(files)]
    os.closerange(0, high)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # New ones: those of the server know whether its own files can seek.
    at_once = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 — open to the end
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
    sys.stdout.reconfigure(write_through=at_once)
    sys.stderr.reconfigure(write_through=True)
    sys.executable = program
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, folder)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _serve(*sys.argv[1:])
