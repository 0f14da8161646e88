"""`python -m pipeline retrain`: the run for schedulers, with a log and an exit code that tells."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from pipeline.config import CONFIG_VARIABLE, PROJECT, Config, config_path, load_config
from pipeline.metadata import RunSummary, model_rejections, read_runs
from pipeline.operations.sentences import describe_rejections, describe_run
from pipeline.operations.waiting_spans import waiting_spans
from pipeline.runtime import LOCK_VARIABLE, ExitCode, exit_code_help, hold_lock

LOG_FILE = "retrain.log"
_GRACE = 30.0  # seconds for a run to end by itself when it is asked to


@click.command("retrain", epilog=exit_code_help())
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
def retrain_command(config_name: str | None) -> None:
    """Run the pipeline for each span that waits, or once; for systemd and cron.

    The output of the runs goes to DIRECTORY/NAME/logs/retrain.log, and to the terminal if there is
    one; what they came to is printed in any case.
    """
    config = load_config(config_name)
    sys.exit(retrain(config, config_path(config_name)))


def retrain(config: Config, path: Path) -> ExitCode:
    """Runs the pipeline once, and on while newer spans wait.

    A span that is rejected does not keep the later ones from being read. A node that fails ends
    the loop: the next scheduled run begins where this one stopped.

    Args:
        config: The pipeline.
        path: The file it was read from, for the runs.

    Returns:
        What to tell the scheduler; of several runs the first thing to look at: a failure, then
        rejected data, then a rejected model.

    Raises:
        LockedError: Another process works on the pipeline.
    """
    codes = []
    with hold_lock(config, "retrain") as lock, _log(config) as log:
        before = read_runs(config, lock_is_ours=True)
        # Spans that arrive meanwhile are left to the next scheduled run, so this one ends.
        for _ in range(max(1, len(waiting_spans(config, before)))):
            log.info("The run starts, of %s.", path)
            status = _run(config, path, lock, log)
            runs = read_runs(config, lock_is_ours=True)
            new = runs[-1] if len(runs) > len(before) else None
            codes.append(exit_code(status, new, runs, config.retraining.alert_after))
            for line in _conclusion(status, new, runs, config):
                log.info(line)
                if not sys.stdout.isatty():  # else the log shows it there
                    click.echo(line)
            waiting = waiting_spans(config, runs)
            stuck = waiting == waiting_spans(config, before)
            if not waiting or stuck or codes[-1] not in (ExitCode.OK, *_GO_ON):
                break
            before = runs
    return next((c for c in (*_STOP, *_GO_ON) if c in codes), ExitCode.OK)


_GO_ON = (ExitCode.DATA_REJECTED, ExitCode.REJECTED)
_STOP = (ExitCode.LOCKED, ExitCode.USAGE, ExitCode.FAILED)


def exit_code(
    status: int, new: RunSummary | None, runs: list[RunSummary], alert_after: int
) -> ExitCode:
    """Says what one run came to.

    Args:
        status: Of the process, by `subprocess`.
        new: What is known of this run; None if no node started.
        runs: All runs, oldest first, with this one.
        alert_after: So many rejections in a row are an alarm.
    """
    if status in (ExitCode.USAGE, ExitCode.LOCKED):
        return ExitCode(status)
    code = ExitCode.FAILED if new is None else new.state.meaning.exit_code
    if status and code is not ExitCode.DATA_REJECTED:
        return ExitCode.FAILED
    if code is ExitCode.REJECTED and model_rejections(runs).count < alert_after:
        return ExitCode.OK
    return code


def _conclusion(
    status: int, new: RunSummary | None, runs: list[RunSummary], config: Config
) -> Iterator[str]:
    if new is not None:
        yield from describe_run(new, runs)
        yield from describe_rejections(runs, config.retraining.alert_after)
    elif status:
        yield f"The run ended before its first node, with status {status}; see above."
    if status < 0:
        yield f"The process of the run was ended by {signal.Signals(-status).name}."


def _run(config: Config, path: Path, lock: int, log: logging.Logger) -> int:
    """Runs the local runner in a process of its own, which shares the lock."""
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "pipeline" / "local_runner.py")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=PROJECT,
        env={
            **os.environ,
            CONFIG_VARIABLE: str(path),
            LOCK_VARIABLE: str(lock),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, [os.getenv("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
        },
        pass_fds=[lock],
    )
    hours = config.retraining.hours_per_run
    limit = threading.Timer(hours * 3600, _end, (process, log, f"it took more than {hours:g} h"))
    limit.daemon = True
    limit.start()
    try:
        with _terminable():
            assert process.stdout is not None
            for line in process.stdout:
                log.info(line.rstrip())
            return process.wait()
    finally:
        limit.cancel()
        if process.poll() is None:
            _end(process, log, "this process was asked to end")


def _end(process: subprocess.Popen[str], log: logging.Logger, why: str) -> None:
    """Ends a run: asks first, since a killed one leaves unfinished files behind."""
    log.error("The run is ended: %s.", why)
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM end the run too, and not only this process."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
