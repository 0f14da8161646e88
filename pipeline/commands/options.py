"""Options that several commands share."""

from __future__ import annotations

import click

from pipeline.config import Config, cluster_config, load_config

config_option = click.option(
    "--config", "config_name", help="TOML file or name of a ready configuration."
)
kubeflow_option = click.option(
    "--kubeflow",
    is_flag=True,
    help="The pipeline as it runs in the cluster: paths and database of [kubeflow], credentials "
    "from METADATA_USERNAME and METADATA_PASSWORD; this machine must see both.",
)


def given_config(config_name: str | None, *, kubeflow: bool) -> Config:
    """The configuration that these two options name.

    Raises:
        ConfigError: It cannot be used, or has a path that the cluster cannot see.
    """
    config = load_config(config_name)
    return cluster_config(config) if kubeflow else config
