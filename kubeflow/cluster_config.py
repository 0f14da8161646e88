"""The configuration as the pods see it: paths in the cluster, values of the run's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import PROJECT, Config, parse_config
from pipeline.runtime import ConfigError

KEEP_SEEDS = -1
# The keys of the configuration that hold paths.
PATHS = (
    "pipeline.directory", "pipeline.serving", "data.path", "data.schema_file", "model.weights",
)  # fmt: skip


def cluster_values(config: Config) -> dict[str, Any]:
    """Returns the tables of a configuration with every path as it is in the cluster.

    Paths that were relative to the project start at `[kubeflow] directory`, which also becomes
    `[pipeline] directory`. Nothing in the result depends on the machine it is made on.

    Args:
        config: A configuration of this machine.

    Returns:
        Plain values for `pipeline.config.parse_config`; only what is set, plus the directory.

    Raises:
        ConfigError: A path that no pod can see.
    """
    directory = config.kubeflow.directory
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
    """Refuses a path that the pods cannot see.

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


def default_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a run with the values of the configuration.

    Args:
        values: As `cluster_values` returns them.
    """
    config = parse_config(dict(values), "the configuration")
    tables = config.model_dump(mode="json")
    seeds = {table["seed"] for table in tables.values() if "seed" in table}
    return {
        "data_path": config.data.path,
        "train_steps": config.training.steps,
        "seed": seeds.pop() if len(seeds) == 1 else KEEP_SEEDS,
        "thresholds": {
            metric: {name: bound for name, bound in bounds.items() if bound is not None}
            for metric, bounds in tables["evaluation"]["thresholds"].items()
        },
        "settings": {},
    }


def configured_run(
    values: Mapping[str, Any],
    directory: str,
    *,
    data_path: str,
    train_steps: int,
    seed: int,
    thresholds: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Config:
    """Applies the parameters of a run to a configuration.

    Args:
        values: As `cluster_values` returns them.
        directory: `[kubeflow] directory`.
        data_path: `[data] path`; relative ones start at the directory.
        train_steps: `[training] steps`.
        seed: Every key named `seed`; −1 keeps what is configured.
        thresholds: Replaces `[evaluation.thresholds]`.
        settings: Any further keys, by table, such as `{"training": {"learning_rate": 0.001}}`.

    Raises:
        ConfigError: A value that the configuration does not allow, or a path that no pod can see.
    """
    if "{" in data_path:
        raise ConfigError(
            f"data_path is {data_path!r}, but placeholders such as {{SPAN}} belong into the "
            "patterns: [data] pattern, train and eval. Give the folder that those are in."
        )
    if not data_path.startswith(("/", "gs://")):
        data_path = f"{directory}/{data_path}"
    tables = _merged(
        values,
        {"data": {"path": data_path}, "training": {"steps": train_steps}},
    )
    tables = _merged(tables, {"evaluation": {}})
    tables["evaluation"]["thresholds"] = dict(thresholds)
    tables = _merged(tables, settings)
    config = parse_config(tables, "the pipeline with the parameters of this run")
    if seed != KEEP_SEEDS:
        seeds = {
            name: {"seed": seed} for name, table in config if "seed" in type(table).model_fields
        }
        config = parse_config(_merged(tables, seeds), "the pipeline with the seed of this run")
    for key, path in (
        ("data.path", config.data.path),
        ("pipeline.serving", config.pipeline.serving_directory),
    ):
        check_visible(key, path, directory)
    return config


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, table by table; nothing is changed in place."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(change, Mapping)
        result[key] = _merged(old, change) if both else change
    return result
