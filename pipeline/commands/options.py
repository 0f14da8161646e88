"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from pipeline.config import BeamSettings, Config, cluster_config, load_config

if TYPE_CHECKING:
    from pipeline.served import ServedVersion

config_option = click.option(
    "--config", "config_name", help="TOML file or name of a ready configuration."
)
kubeflow_option = click.option(
    "--kubeflow",
    is_flag=True,
    help="The pipeline as it runs in the cluster: paths and database of [kubeflow], credentials "
    "from METADATA_USERNAME and METADATA_PASSWORD; this machine must see both.",
)

model_option = click.option(
    "--model",
    metavar="FOLDER",
    help="A version folder, or a serving folder with versions.  [default: of the configuration]",
)
preview_option = click.option(
    "--preview",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png|FILE.html",
    help="Write a picture, or a page with pictures.",
)


def given_config(config_name: str | None, *, kubeflow: bool) -> Config:
    """The configuration that these two options name.

    Raises:
        ConfigError: It cannot be used, or has a path that the cluster cannot see.
    """
    config = load_config(config_name)
    return cluster_config(config) if kubeflow else config


class Named(NamedTuple):
    """What `--config` and `--model` name.

    Attributes:
        folder: Of a version, or a serving folder.
        max_pixels: Largest width × height of an image.
        beam: Where Beam runs.
        gallery_path: Folder that ids of the gallery are relative to; None with `--model` alone,
            which does not say.
    """

    folder: str
    max_pixels: int
    beam: BeamSettings
    gallery_path: str | None


def named(config_name: str | None, model: str | None) -> Named:
    """Reads the configuration, unless `--model` is all there is.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    from modules.settings import MAX_PIXELS

    if model and config_name is None:
        return Named(model, MAX_PIXELS, BeamSettings(), None)
    config = load_config(config_name)
    folder = model or config.pipeline.serving_directory
    gallery = config.index.own_gallery or config.data.path
    return Named(folder, config.data.max_pixels, config.beam, gallery)


def open_served(config_name: str | None, model: str | None) -> tuple[ServedVersion, str | None]:
    """Opens the version that `--config` and `--model` name, quietly.

    Returns:
        The version, and the folder of its gallery; see `Named`.

    Raises:
        PipelineError: There is no version, or it cannot be used.
    """
    from pipeline.runtime import quiet_imports
    from pipeline.served import newest_version, open_version

    what = named(config_name, model)
    folder = newest_version(what.folder)
    with quiet_imports():
        return open_version(folder, what.max_pixels), what.gallery_path
