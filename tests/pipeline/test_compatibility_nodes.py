"""Every key of `[compatibility]` reaches the Evaluator, and what stays compatible the Trainer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import RESOLVER_CONFIG
from tfx.utils import json_utils

from modules.settings import CompatibilitySettings
from pipeline.config import cluster_config, load_config
from pipeline.definition import create_pipeline
from pipeline.runtime import ConfigError

# Of every key a value that is not the default.
COMPATIBILITY = {
    "max_cross_drop": 0.05,
    "map_images": 100,
    "require": "map",
    "max_negative_flips": 0.125,
    "k": 3,
    "outside_quantile": 0.5,
    "max_changed": 0.25,
    "min_overlap": 0.5,
    "max_outside": 0.75,
}


def config(folder: Path, text: str = ""):
    file = folder / "config.toml"
    file.write_text(f'[pipeline]\nname = "mine"\n[data]\npath = "photos"\n{text}')
    return load_config(str(file))


def nodes(folder: Path, text: str = "") -> dict[str, BaseNode]:
    return {node.id: node for node in create_pipeline(config(folder, text)).components}


def told(folder: Path, text: str = "") -> dict:
    properties = nodes(folder, text)["Evaluator"].exec_properties
    return {key: properties.get(key) for key in ("compatibility", "queries_fingerprint")}


def table(**values) -> str:
    lines = (f"{key} = {json.dumps(value)}" for key, value in values.items())
    return "\n".join(["[compatibility]", *lines])


def test_every_key_of_compatibility(tmp_path) -> None:
    logged = tmp_path / "logged"
    logged.mkdir()
    every = COMPATIBILITY | {"queries": str(logged)}
    assert {"enabled", *every} == set(CompatibilitySettings.model_fields)
    assert json.loads(told(tmp_path, table(**every))["compatibility"]) == every
    assert told(tmp_path) == {"compatibility": "{}", "queries_fingerprint": None}
    off = told(tmp_path, table(enabled=False))
    assert off == {"compatibility": None, "queries_fingerprint": None}


def test_another_log_is_another_key_of_the_cache(tmp_path) -> None:
    logged = tmp_path / "logged"
    logged.mkdir()
    keys = []
    for number in range(2):
        (logged / f"{number}.png").write_bytes(b"image")
        keys.append(told(tmp_path, table(queries=str(logged))))
    assert keys[0]["compatibility"] == keys[1]["compatibility"]
    assert keys[0]["queries_fingerprint"] != keys[1]["queries_fingerprint"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enabled": False, "require": "map"}, "enabled = false, so require has no effect"),
        ({"k": 5, "max_changed": 0.1}, "k, max_changed has no effect without queries"),
        ({"require": "re_embed"}, "compatibility.require"),
        ({"max_negative_flips": 1.5}, "compatibility.max_negative_flips"),
        ({"queries": "~/log"}, "begins with ~"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, table(**values))


def test_the_log_lies_where_pods_see_it(tmp_path) -> None:
    found = cluster_config(config(tmp_path, table(queries="logged")))
    assert found.compatibility.queries == f"{found.kubeflow.directory}/logged"


def test_the_trainer_gets_the_model_to_stay_compatible_with(tmp_path) -> None:
    weight = "[training]\ncompatibility_weight = 0.5\n"
    found = nodes(tmp_path, weight)
    trainer, resolver = found["Trainer"], found["PreviousModelResolver"]
    assert "base_model" in trainer.inputs
    assert "model" not in found["TripletGen"].inputs
    told = json_utils.loads(trainer.exec_properties["custom_config"])
    assert told["warm_start"] is False
    recipe = {"rounds_on_same_data": 0, "recipe": told["training_recipe"]}
    assert resolver.exec_properties[RESOLVER_CONFIG] == recipe
    # Other settings are another recipe, so what was made by these is what to stay compatible with.
    other = nodes(tmp_path, weight + "margin = 0.3\n")["PreviousModelResolver"]
    assert other.exec_properties[RESOLVER_CONFIG]["recipe"] != recipe["recipe"]
    plain = nodes(tmp_path)
    assert "PreviousModelResolver" not in plain
    assert "base_model" not in plain["Trainer"].inputs
    assert "warm_start" not in json_utils.loads(plain["Trainer"].exec_properties["custom_config"])
