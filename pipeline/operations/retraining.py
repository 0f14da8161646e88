"""The run for schedulers: once for each span that waits, with a log and an exit code that tells."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from modules.runtime import printable
from pipeline.config import CONFIG_VARIABLE, PROJECT, Config
from pipeline.metadata import RunSummary, model_rejections, read_runs
from pipeline.operations.sentences import describe_rejections, describe_run
from pipeline.operations.supervision import run_supervised
from pipeline.operations.waiting_spans import waiting_spans
from pipeline.runtime import (
    LOCK_VARIABLE,
    ExitCode,
    check_places,
    check_unlocked,
    ended_by,
    hold_lock,
)

LOG_FILE = "retrain.log"
# After these the loop goes on with the next span that waits.
_GO_ON = (ExitCode.OK, ExitCode.DATA_REJECTED, ExitCode.REJECTED)
# Of several runs the first of these is the exit code of all.
_WORST_FIRST = (
    ExitCode.LOCKED, ExitCode.USAGE, ExitCode.FAILED, ExitCode.NO_DATA, ExitCode.DATA_REJECTED,
    ExitCode.REJECTED,
)  # fmt: skip


def retrain(config: Config, path: Path) -> ExitCode:
    """Runs the pipeline once, and on while newer spans wait.

    After rejected data or a rejected model the next span is read. After a failed node the loop
    ends, and the next scheduled run goes on.

    Args:
        config: The pipeline.
        path: The file it was read from, for the runs.

    Returns:
        What to tell the scheduler. Of several runs that did not end well: a failure before rejected
        data, and rejected data before a rejected model.

    Raises:
        LockedError: Another process works on the pipeline.
        ConfigError: A folder or a file that the configuration names is missing.
        NoDataError: The folder of the data is empty.
    """
    codes = []
    check_unlocked(config)  # before anything is made
    check_places(config)
    with hold_lock(config, "retrain") as lock, _log(config) as log:
        before = read_runs(config, lock_is_ours=True)
        # Spans that arrive from now on are left to the next scheduled run, so that this one ends.
        for _ in range(max(1, len(waiting_spans(config, before)))):
            log.info("The run starts, of %s.", path)
            status = _run(config, path, lock, log)
            runs = read_runs(config, lock_is_ours=True)
            new = runs[-1] if len(runs) > len(before) else None
            codes.append(exit_code(status, new, runs, config.retraining.alert_after))
            for line in map(printable, _conclusion(status, new, runs, config)):
                log.info(line)
                if not sys.stdout.isatty():  # else the log shows it there
                    click.echo(line)
            waiting = waiting_spans(config, runs)
            stuck = waiting == waiting_spans(config, before)
            if not waiting or stuck or codes[-1] not in _GO_ON:
                break
            before = runs
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.OK)


def exit_code(
    status: int, new: RunSummary | None, runs: Sequence[RunSummary], alert_after: int
) -> ExitCode:
    """Says how one run ended.

    Args:
        status: Exit code of its process; −N if signal N ended it.
        new: The summary of this run; None if no node started.
        runs: All runs, oldest first, with this one.
        alert_after: This many rejected models in a row are reported as `ExitCode.REJECTED`.
    """
    if status in (ExitCode.USAGE, ExitCode.NO_DATA, ExitCode.LOCKED):
        return ExitCode(status)
    code = ExitCode.FAILED if new is None else new.state.meaning.exit_code
    if status and code not in (ExitCode.DATA_REJECTED, ExitCode.NO_DATA):
        return ExitCode.FAILED
    if code is ExitCode.REJECTED and model_rejections(runs).count < alert_after:
        return ExitCode.OK
    return code


def _conclusion(
    status: int, new: RunSummary | None, runs: Sequence[RunSummary], config: Config
) -> Iterator[str]:
    if new is not None:
        yield from describe_run(new, runs)
        yield from describe_rejections(runs, config.retraining.alert_after)
    elif status:
        yield f"The run ended before its first node, with status {status}; see above."
    if number := ended_by(status):
        yield f"The process of the run was ended by {number.name}."


def _run(config: Config, path: Path, lock: int, log: logging.Logger) -> int:
    """Runs the pipeline in a process of its own, which shares the lock; returns its status."""
    return run_supervised(
        [sys.executable, str(PROJECT / "pipeline" / "local_runner.py")],
        {
            **os.environ,
            CONFIG_VARIABLE: str(path),
            LOCK_VARIABLE: str(lock),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, [os.getenv("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
        },
        log,
        hours=config.retraining.hours_per_run,
        pass_fds=[lock],
    )


@contextlib.contextmanager
def _log(config: Config) -> Iterator[logging.Logger]:
    """The log file, which rotates by size, and the terminal if there is one."""
    folder = Path(config.pipeline.logs)
    folder.mkdir(parents=True, exist_ok=True)
    log = logging.Logger("retrain", logging.INFO)
    file = logging.handlers.RotatingFileHandler(
        folder / LOG_FILE,
        maxBytes=int(config.retraining.log_megabytes * 1e6),
        backupCount=config.retraining.log_files,
        encoding="utf-8",
    )
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(file)
    if sys.stdout.isatty():
        log.addHandler(logging.StreamHandler(sys.stdout))
    try:
        yield log
    finally:
        file.close()
