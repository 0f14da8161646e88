"""`python -m pipeline`: prepare data, run, and see what came out."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from pipeline.config import CONFIG_VARIABLE, PROJECT, load_config
from pipeline.datasets import data_command
from pipeline.operations.gc import gc_command
from pipeline.operations.history import history_command
from pipeline.operations.reference_scores import reference_scores_command
from pipeline.operations.retraining import retrain_command
from pipeline.operations.rollback import rollback_command
from pipeline.operations.scheduling import schedule_command
from pipeline.operations.summary import show_latest, summary_command
from pipeline.runtime import PipelineError, check_unlocked, quiet_imports

config_option = click.option(
    "--config", "config_name", help="TOML file or name of a ready configuration."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Deep metric learning with triplet loss: labelled images in, a gated embedding model out."""


@main.command()
@config_option
def run(config_name: str | None) -> None:
    """Register the pipeline with the TFX CLI, run it on this machine, and print the summary."""
    config = load_config(config_name)
    check_unlocked(config)
    if config_name:
        os.environ[CONFIG_VARIABLE] = config_name
    name = config.pipeline.name
    runner = str(PROJECT / "pipeline" / "local_runner.py")
    # Where the TFX CLI keeps its state.
    registered = Path(os.environ.get("LOCAL_HOME", "~/tfx/local")).expanduser() / name
    verb = "update" if registered.exists() else "create"
    with quiet_imports():
        from tfx.tools.cli.cli_main import cli_group
    try:
        for command in (
            f"pipeline {verb} --engine local --pipeline_path {shlex.quote(runner)}",
            f"run create --engine local --pipeline_name {name}",
        ):
            click.secho(f"$ tfx {command}", bold=True)
            cli_group.main(shlex.split(command), standalone_mode=False)
    finally:
        if Path(config.pipeline.metadata).exists():
            show_latest(config)


main.add_command(data_command)
main.add_command(reference_scores_command)
main.add_command(gc_command)
main.add_command(history_command)
main.add_command(retrain_command)
main.add_command(rollback_command)
main.add_command(schedule_command)
main.add_command(summary_command)


def run_main() -> None:
    """Entry point: known errors as one message without a traceback; see `ExitCode`."""
    try:
        main()
    except PipelineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run_main()
