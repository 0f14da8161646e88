"""Becomes a program that ends when the process that started it is gone.

Called with its process id, the program and the arguments of that.

A process that is killed cannot end what it has started. The kernel does it, if a process has asked
for that (`prctl`, PR_SET_PDEATHSIG); the wish outlives `exec`. Without Linux nobody is asked, and a
killed `retrain` leaves its run going on.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Asks the kernel, looks whether the parent has gone meanwhile, and becomes the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
