"""`python -m pipeline`: prepare data, run, and see what came out."""

from __future__ import annotations

from pipeline.commands import main
from pipeline.runtime import end_when_told, run_reporting


def run_main() -> None:
    """Entry point: errors as one message without a traceback; see `ExitCode`."""
    with run_reporting():
        end_when_told()
        main()


if __name__ == "__main__":
    run_main()
