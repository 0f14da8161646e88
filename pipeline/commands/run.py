"""`python -m pipeline run`: a run on this machine, and what came out."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from pipeline.commands.options import config_option
from pipeline.config import CONFIG_VARIABLE, PROJECT, load_config
from pipeline.runtime import check_unlocked, quiet_imports


@click.command("run")
@config_option
def run_command(config_name: str | None) -> None:
    """Run the pipeline on this machine and print the summary."""
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
    from pipeline.operations.summary import show_latest

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
