"""`python -m pipeline gc`: removes what nothing refers to any more."""

from __future__ import annotations

import click

from pipeline.commands.options import config_option, given_config, kubeflow_option
from pipeline.operations import collect, show_plan


@click.command("gc")
@config_option
@kubeflow_option
@click.option(
    "--keep", default=10, show_default=True, metavar="N", type=click.IntRange(min=1),
    help="Keep everything of the last N runs.",
)  # fmt: skip
@click.option("--delete", is_flag=True, help="Do it; without this only the plan is shown.")
def gc_command(config_name: str | None, kubeflow: bool, keep: int, delete: bool) -> None:
    """Remove artifacts of old runs that nothing needs any more, and what killed runs have left.

    What stays: everything of the last N runs; all that the next run may find in its cache; the last
    blessed models, what they started from, and the models in the serving folder; the spans to train
    on, evaluate on and compare with. The history stays complete, it is in the metadata database.
    """
    config = given_config(config_name, kubeflow=kubeflow)
    show_plan(collect(config, keep, delete=delete), config, done=delete)
