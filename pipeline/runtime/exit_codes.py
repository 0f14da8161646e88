"""What the exit code of a command says, for schedulers and scripts."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of `python -m pipeline …` and `python -m kubeflow …`.

    66 is EX_NOINPUT of sysexits.h, 75 EX_TEMPFAIL: try again later.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    DATA_REJECTED = 3
    REJECTED = 4
    NO_DATA = 66
    LOCKED = 75

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return _MEANING[self]


_MEANING = {
    ExitCode.OK: "pushed, skipped, nothing new, or rejected fewer times in a row than "
    "[retraining] alert_after",
    ExitCode.FAILED: "a node, the metadata or a program such as systemctl failed, or the run was "
    "ended",
    ExitCode.USAGE: "the configuration or the command line is wrong",
    ExitCode.DATA_REJECTED: "the new data was rejected: ExampleGen, ExampleValidator or DataAudit "
    "stopped the run",
    ExitCode.REJECTED: "the model was rejected, now alert_after times in a row or more",
    ExitCode.NO_DATA: "the folder of the data, or of a span, is empty, as without its disk",
    ExitCode.LOCKED: "another run of this pipeline goes on",
}


def exit_code_help() -> str:
    """The table for `--help`; click keeps its lines as they are."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:>2}  {code.meaning}" for code in ExitCode)
