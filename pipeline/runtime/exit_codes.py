"""What the exit code of a command says, for schedulers and scripts."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of `python -m pipeline …` and `python -m kubeflow …`.

    75 is EX_TEMPFAIL of sysexits.h: try again later.
    """

    OK = 0, "pushed, nothing new, or rejected fewer times in a row than [retraining] alert_after"
    FAILED = 1, "a node, the metadata or a program such as systemctl failed, or the run was ended"
    USAGE = 2, "the configuration or the command line is wrong"
    DATA_REJECTED = 3, "the new data was rejected: ExampleGen or ExampleValidator stopped the run"
    REJECTED = 4, "the model was rejected, now alert_after times in a row or more"
    LOCKED = 75, "another run of this pipeline goes on"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Keeps the meaning beside the number."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code


def exit_code_help() -> str:
    """The table for `--help`; click keeps its lines as they are."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:>2}  {code.meaning}" for code in ExitCode)
