"""The configuration as the pods of Kubeflow see it: every path is one of the cluster."""

from __future__ import annotations

from typing import Any

from pipeline.config.loading import Config
from pipeline.config.paths import PROJECT
from pipeline.runtime import ConfigError

# The keys of the configuration that hold paths.
PATHS = (
    "pipeline.directory", "pipeline.serving", "data.path", "data.schema_file", "data.corrections",
    "model.weights", "model.preset", "compatibility.queries", "index.path",
)  # fmt: skip


class ClusterConfig(Config):
    """A pipeline as it runs in the cluster: paths and database of `[kubeflow]`."""

    @property
    def in_cluster(self) -> bool:
        """True: pods run the nodes."""
        return True

    @property
    def database(self) -> str:
        """URL of the metadata database."""
        return self.kubeflow.metadata


def cluster_config(config: Config) -> ClusterConfig:
    """Returns a pipeline of this machine as it runs in the cluster.

    Raises:
        ConfigError: A path that no pod can see.
    """
    return ClusterConfig.model_validate(
        cluster_values(config)
        | {"kubeflow": config.kubeflow.model_dump(mode="json", exclude_unset=True)}
    )


def cluster_values(config: Config) -> dict[str, Any]:
    """Returns the tables of a configuration with every path as it is in the cluster.

    Paths that were relative to the project start at `[kubeflow] directory`, which also becomes
    `[pipeline] directory`. Nothing in the result depends on the machine it is made on.

    Args:
        config: A configuration of this machine.

    Returns:
        Plain values for `pipeline.config.parse_config`; only what is set, plus the directory.

    Raises:
        ConfigError: A path that no pod can see; Beam's workers would be in the pod, or see no file.
    """
    directory = config.kubeflow.directory
    config.beam.check_cluster(directory)
    values = config.model_dump(mode="json", exclude_unset=True)
    values.pop("kubeflow", None)
    values["pipeline"]["directory"] = directory
    for key in PATHS:
        table, name = key.split(".")
        path = values.get(table, {}).get(name)
        if path and path.startswith("/"):
            values[table][name] = _in_cluster(key, path, directory)
    return values


def _in_cluster(key: str, path: str, directory: str) -> str:
    if path == str(PROJECT) or path.startswith(f"{PROJECT}/"):
        return directory + path.removeprefix(str(PROJECT))
    check_visible(key, path, directory)
    return path


def check_visible(key: str, path: str, directory: str) -> None:
    """Rejects a path that the pods cannot see.

    Args:
        key: What the message calls it.
        path: A path or a URI.
        directory: `[kubeflow] directory`.

    Raises:
        ConfigError: Neither a gs:// URI nor below the directory.
    """
    if path.startswith("gs://") or path == directory or path.startswith(f"{directory}/"):
        return
    raise ConfigError(
        f"{key} = {path!r} does not exist in the cluster: pods see {directory} ([kubeflow] "
        f"directory) and gs:// only. Copy it there and give a path relative to it, {directory}/… "
        "or gs://…."
    )
