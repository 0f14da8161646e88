"""`python -m pipeline summary`: the latest run as tables, or as JSON for programs."""

from __future__ import annotations

import click

from pipeline.commands.options import config_option, given_config, kubeflow_option
from pipeline.operations import SLICES, show_latest


@click.command("summary")
@config_option
@kubeflow_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option(
    "--slices", default=SLICES, show_default=True, help="How many slices to show, worst first."
)
def summary_command(config_name: str | None, kubeflow: bool, as_json: bool, slices: int) -> None:
    """Show the latest run: nodes, metrics, blessing, where the model went."""
    show_latest(given_config(config_name, kubeflow=kubeflow), as_json=as_json, slices=slices)
