"""`python -m pipeline reference-scores`: what training has brought."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import config_option
from pipeline.config import load_config
from pipeline.runtime import quiet_imports

if TYPE_CHECKING:
    from rich.table import Table


@click.command("reference-scores")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def reference_scores_command(config_name: str | None, as_json: bool) -> None:
    """Compare the latest model with an untrained network and with raw pixels.

    All three are scored on the examples that the latest run evaluated.
    """
    from pipeline.operations import latest_reference_scores

    config = load_config(config_name)
    with quiet_imports():
        scores = latest_reference_scores(config)
    if as_json:
        click.echo(json.dumps(scores, indent=2))
        return
    from pipeline.runtime import Terminal

    Terminal(highlight=False, soft_wrap=True).print(score_table(scores))


def score_table(scores: dict[str, dict[str, float]]) -> Table:
    """One row for each score, one column for each embedding.

    A cell is empty if the run evaluated with other `[evaluation] ks` than are configured now.

    Args:
        scores: By embedding and name of the score, as `reference_scores_of` returns them.
    """
    from rich.table import Table

    from pipeline.operations import UNTRAINED

    table = Table(title="Retrieval on the eval split", title_justify="left")
    table.add_column("metric")
    for embedding in scores:
        table.add_column(embedding.replace("_", " "), justify="right")
    for name in scores[UNTRAINED]:
        values = [of_one.get(name) for of_one in scores.values()]
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in values))
    return table
