"""`python -m pipeline verify`: do two images show the same?"""

from __future__ import annotations

import json
import sys

import click

from pipeline.commands.options import config_option, model_option, open_served
from pipeline.served import Outcome, outcome_help


@click.command("verify", epilog=outcome_help(Outcome.DONE, Outcome.DIFFERENT))
@click.argument("one")
@click.argument("other")
@config_option
@model_option
@click.option(
    "--threshold", type=click.FloatRange(min=0),
    help="Squared distance, in place of the calibrated threshold.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def verify_command(
    one: str,
    other: str,
    config_name: str | None,
    model: str | None,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Tell whether two images show the same, at the threshold calibrated with the model.

    The version has that threshold if the configuration that made it says which rate of false
    accepts is meant: `[evaluation] false_accept_rate`.
    """
    from pipeline.served import (
        describe_verdict,
        find_images,
        read_image,
        verdict_values,
        verify_images,
    )

    paths = find_images([one, other])
    if len(paths) != 2:
        raise click.UsageError("verify takes two images, no folders.")
    version, _ = open_served(config_name, model)
    verdict = verify_images(version, [read_image(path) for path in paths], threshold)
    if as_json:
        click.echo(json.dumps(verdict_values(version, verdict), indent=2))
    else:
        for line in describe_verdict(verdict):
            click.echo(line)
    sys.exit(Outcome.DONE if verdict.same else Outcome.DIFFERENT)
