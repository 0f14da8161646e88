"""Options that several commands share."""

from __future__ import annotations

import click

config_option = click.option(
    "--config", "config_name", help="TOML file or name of a ready configuration."
)
