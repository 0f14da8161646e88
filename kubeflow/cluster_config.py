"""The configuration of one run in the cluster: with the values of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import Config, check_visible, parse_config
from pipeline.runtime import ConfigError

KEEP_SEEDS = -1
CHOOSE_STEPS = 0  # parameters have no None


def default_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a run with the values of the configuration.

    Args:
        values: As `pipeline.config.cluster_values` returns them.
    """
    config = parse_config(dict(values), "the configuration")
    tables = config.model_dump(mode="json")
    seeds = {table["seed"] for table in tables.values() if "seed" in table}
    return {
        "data_path": config.data.path,
        "train_steps": config.training.steps or CHOOSE_STEPS,
        "seed": seeds.pop() if len(seeds) == 1 else KEEP_SEEDS,
        "thresholds": {
            metric: threshold.model_dump(mode="json", exclude_defaults=True)
            for metric, threshold in config.evaluation.thresholds.items()
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
        values: As `pipeline.config.cluster_values` returns them.
        directory: `[kubeflow] directory`.
        data_path: `[data] path`; relative ones start at the directory.
        train_steps: `[training] steps`; 0: not given, so they are chosen or `minutes` decide.
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
        {
            "data": {"path": data_path},
            "training": {"steps": None if train_steps == CHOOSE_STEPS else train_steps},
        },
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
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            change = _merged(old, change)
        result[key] = change
    return result
