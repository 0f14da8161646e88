"""`python -m pipeline run`: a run on this machine, and what came out."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import config_option
from pipeline.config import load_config
from pipeline.runtime import check_places, check_unlocked, quiet_imports


@click.command("run")
@config_option
def run_command(config_name: str | None) -> None:
    """Run the pipeline on this machine and print the summary."""
    config = load_config(config_name)
    check_unlocked(config)  # before the seconds that TFX takes to load
    check_places(config)
    with quiet_imports():
        from pipeline.local_runner import run_pipeline
    from pipeline.operations import show_latest

    try:
        run_pipeline(config)
    finally:
        if Path(config.pipeline.metadata).exists():
            show_latest(config)
