"""`python -m pipeline retrain`: the run for schedulers, with a log and an exit code that tells."""

from __future__ import annotations

import sys

import click

from pipeline.commands.options import config_option
from pipeline.config import config_path, load_config
from pipeline.runtime import exit_code_help


@click.command("retrain", epilog=exit_code_help())
@config_option
def retrain_command(config_name: str | None) -> None:
    """Run the pipeline for each span that waits, or once; for systemd and cron.

    The output of the runs goes to DIRECTORY/NAME/logs/retrain.log, and to the terminal if there is
    one. What became of each run is printed in any case.
    """
    from pipeline.operations import retrain

    sys.exit(retrain(load_config(config_name), config_path(config_name)))
