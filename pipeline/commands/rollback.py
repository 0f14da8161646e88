"""`python -m pipeline rollback`: the previous blessed model is served again, and stays."""

from __future__ import annotations

import click

from pipeline.commands.options import config_option, given_config, kubeflow_option
from pipeline.operations import roll_back


@click.command("rollback")
@config_option
@kubeflow_option
@click.option("--to", type=click.IntRange(min=0), metavar="VERSION", help="A version pushed once.")
def rollback_command(config_name: str | None, kubeflow: bool, to: int | None) -> None:
    """Serve the previous blessed model again, as a new version.

    The blessing of every later model is revoked, so the next run compares with the model that is
    served again and trains on from it, and pushes nothing unless a new model passes. With --to
    VERSION it is the model of that version, also a later one, whose blessing it then has again.
    Each further rollback goes one model further back.
    """
    config = given_config(config_name, kubeflow=kubeflow)
    done = roll_back(config, to)
    if done.done_before:
        click.echo(f"Version {done.version} holds this model already: nothing to do.")
        return
    if done.completed:
        click.echo("An earlier rollback was killed; this completes it and goes no further back.")
    click.echo(
        f"Version {done.version} in {config.pipeline.serving_directory} is the model of "
        f"{done.model.uri}."
    )
    if done.missing:
        click.echo(f"Without {', '.join(done.missing)}, which it had before: the files are gone.")
    if done.revoked:
        click.echo(f"No longer blessed: {', '.join(f'model {i}' for i in done.revoked)}.")
