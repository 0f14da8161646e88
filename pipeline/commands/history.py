"""`python -m pipeline history`: all runs as a table, JSON, a picture or a page."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import config_option, given_config, kubeflow_option
from pipeline.operations import show_history


@click.command("history")
@config_option
@kubeflow_option
@click.option("--last", type=click.IntRange(min=1), help="Only so many of the latest runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page of all runs, with links to their reports.",
)
def history_command(
    config_name: str | None,
    kubeflow: bool,
    last: int | None,
    as_json: bool,
    png: Path | None,
    page: Path | None,
) -> None:
    """Show the runs over time: spans, metrics, blessings, pushes."""
    config = given_config(config_name, kubeflow=kubeflow)
    show_history(config, last=last, as_json=as_json, png=png, page=page)
