"""`python -m pipeline index`: what is done with the index of a pushed version."""

from __future__ import annotations

import click

from pipeline.commands.options import config_option, model_option

KINDS = ("qdrant", "pgvector")


@click.group("index")
def index_command() -> None:
    """Hand the index of a pushed version to a vector database."""


@index_command.command("push")
@config_option
@model_option
@click.option("--to", "kind", type=click.Choice(KINDS), required=True, help="What runs there.")
@click.option(
    "--url",
    required=True,
    help="http://HOST:6333 of Qdrant, or postgresql://HOST[:PORT]/DATABASE. Credentials come from "
    "QDRANT_API_KEY, or PGUSER, PGPASSWORD and PGSSLMODE, of the environment only.",
)
@click.option(
    "--name", help="Alias under which it is served.  [default: the pipeline's name with _ for -]"
)
@click.option(
    "--keep", default=1, show_default=True, metavar="N", type=click.IntRange(min=0),
    help="Keep N collections that were served before.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def push_command(
    config_name: str | None,
    model: str | None,
    kind: str,
    url: str,
    name: str | None,
    keep: int,
    as_json: bool,
) -> None:
    """Load the gallery of a version into Qdrant or PostgreSQL with pgvector, and serve it.

    Each gallery becomes a collection, or a table, of its own. The alias, or view, is switched in
    one step when all images are there and counted, so readers never see two models mixed. After a
    kill the same command goes on where it ended; where all is done it says so.
    """
    from pipeline.config import load_config
    from pipeline.operations import alias_of, push_index
    from pipeline.served import newest_version

    if model and config_name is None:  # the default configuration is of another pipeline
        if name is None:
            raise click.UsageError("--model alone does not say of which pipeline: add --name.")
        folder, alias = model, name
    else:
        config = load_config(config_name)
        folder = model or config.pipeline.serving_directory
        alias = alias_of(config.pipeline.name) if name is None else name
    push_index(newest_version(folder), kind, url, alias, keep=keep, as_json=as_json)
