"""Command line options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class JsonObject(click.ParamType):  # type: ignore[type-arg]
    """A JSON object on the command line."""

    name = "JSON"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Parses the text; anything but an object is an error of the command line."""
        if isinstance(value, dict):
            return value
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError as error:
            self.fail(f"{value!r} is not JSON: {error}", param, ctx)
        if not isinstance(parsed, dict):
            self.fail(f"{value!r} is not a JSON object, such as {{}}", param, ctx)
        return parsed


class Cron(click.ParamType):  # type: ignore[type-arg]
    """A cron expression as Kubeflow takes it: six fields, seconds first."""

    name = "CRON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks the number of fields: a usual line of five fields would mean another time."""
        fields = str(value).split()
        if len(fields) != 6:
            self.fail(
                f"{value!r} has {len(fields)} fields, expected six: second minute hour day month "
                "weekday. Every night at 3: '0 0 3 * * *'.",
                param,
                ctx,
            )
        return " ".join(fields)


def connection_options(command: F) -> F:
    """Adds --host, --token-file, --in-cluster, --ca-cert, --insecure-http and --namespace."""
    for option in reversed(
        [
            click.option(
                "--host",
                envvar="KFP_HOST",
                required=True,
                show_envvar=True,
                help="URL of the Kubeflow Pipelines API; https:// where no scheme is given.",
            ),
            click.option(
                "--token-file",
                type=click.Path(exists=True, dir_okay=False),
                help="File with a bearer token; or set the environment variable KFP_TOKEN.",
            ),
            click.option(
                "--in-cluster",
                is_flag=True,
                help="Use the token of this pod's service account.",
            ),
            click.option(
                "--ca-cert",
                type=click.Path(exists=True, dir_okay=False),
                help="Certificate authority of the host, if it is not a public one.",
            ),
            click.option(
                "--insecure-http",
                is_flag=True,
                help="Allow http:// to another machine: tokens and data travel in the clear.",
            ),
            click.option(
                "--namespace",
                envvar="KFP_NAMESPACE",
                default="kubeflow",
                show_envvar=True,
                help="Your profile's, where Kubeflow has several users.",
            ),
        ]
    ):
        command = option(command)
    return command


def parameter_options(command: F) -> F:
    """Adds an option for each parameter of a run; those not given keep the deployed default."""
    for option in reversed(
        [
            click.option("--data-path", help="[data] path: gs://… or below the volume."),
            click.option("--train-steps", type=click.IntRange(1), help="[training] steps."),
            click.option(
                "--seed", type=click.IntRange(-1), help="Every seed; -1 keeps the configured ones."
            ),
            click.option(
                "--thresholds",
                type=JsonObject(),
                help='Replaces [evaluation.thresholds]: \'{"precision@1": {"lower": 0.97}}\'.',
            ),
            click.option(
                "--settings",
                type=JsonObject(),
                help='Any other keys: \'{"training": {"learning_rate": 0.001}}\'.',
            ),
        ]
    ):
        command = option(command)
    return command


PARAMETERS = ("data_path", "train_steps", "seed", "thresholds", "settings")


def given_parameters(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the parameters that were given out of a command's options."""
    found = {name: options.pop(name) for name in PARAMETERS}
    return {name: value for name, value in found.items() if value is not None}
