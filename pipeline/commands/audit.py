"""`python -m pipeline audit`: what is wrong with the data, as tables or as a page."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import config_option, given_config, kubeflow_option


@click.command("audit")
@config_option
@kubeflow_option
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page that shows the images, and writes corrections for those that one ticks.",
)
@click.option(
    "--rows", default=10, show_default=True, type=click.IntRange(min=0),
    help="The most findings to show of a kind.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def audit_command(
    config_name: str | None, kubeflow: bool, html: Path | None, rows: int, as_json: bool
) -> None:
    """Show what is wrong with the data of the latest run: copies, leaks, likely wrong labels.

    Where the run had no model yet, or was stopped by what was found, the images are looked at again
    now, with the last blessed model; nothing of the pipeline is changed.
    """
    from pipeline.operations import audit_latest, audit_tables, write_audit_page
    from pipeline.runtime import quiet_imports

    config = given_config(config_name, kubeflow=kubeflow)
    found = audit_latest(config)
    if html:
        with quiet_imports():
            write_audit_page(
                html,
                found.report,
                found.files,
                background=config.image.background,
                corrections=config.data.corrections,
            )
    if as_json:
        click.echo(found.report.model_dump_json(indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if found.anew:
        click.echo(f"The images were looked at again now, since {found.anew}.")
    for table in audit_tables(found.report, rows):
        console.print(table)
    for failure in found.report.failures:
        console.print(failure, markup=False, style="bold red")
    if html:
        click.echo(f"The page is {html}")
