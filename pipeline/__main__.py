"""`python -m pipeline`: prepare data, run, and see what came out."""

from __future__ import annotations

import sys

from pipeline.commands import main
from pipeline.runtime import PipelineError, report


def run_main() -> None:
    """Entry point: known errors as one message without a traceback; see `ExitCode`."""
    try:
        main()
    except PipelineError as error:
        sys.exit(report(error))


if __name__ == "__main__":
    run_main()
