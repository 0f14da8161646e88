"""The configuration of one run, as its pods see it."""

from __future__ import annotations

import pytest

from kubeflow.cluster_config import configured_run, default_parameters
from pipeline.config import PROJECT, Config, cluster_values, parse_config
from pipeline.runtime import ConfigError

TABLES = {
    "pipeline": {"name": "digits"},
    "data": {"path": "photos/2027", "format": "images", "split": "hash", "eval_fraction": 0.1},
    "training": {"steps": 30},
    "evaluation": {"thresholds": {"precision@1": {"lower": 0.5}}},
}


def config(**tables: dict) -> Config:
    return parse_config(TABLES | tables, "the test")


def changed(values: dict | None = None, **parameters: object) -> Config:
    values = values or cluster_values(config())
    return configured_run(values, "/mnt/triplet", **(default_parameters(values) | parameters))


def test_paths_of_the_project_become_paths_of_the_volume() -> None:
    values = cluster_values(config())
    assert values["data"]["path"] == "/mnt/triplet/photos/2027"
    assert values["pipeline"]["directory"] == "/mnt/triplet"
    assert str(PROJECT) not in str(values)
    run = changed()
    assert run.pipeline.root == "/mnt/triplet/digits/artifacts"
    assert run.pipeline.serving_directory == "/mnt/triplet/digits/serving"
    # The rest is what it was.
    assert run.training == config().training
    assert run.data.patterns == config().data.patterns


@pytest.mark.parametrize("path", ["/home/me/photos", "/mnt/triplets/photos"])
def test_a_path_that_no_pod_sees_is_rejected(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"data.path = '{path}' does not exist in the cluster"):
        cluster_values(config(data={"path": path}))
    with pytest.raises(ConfigError, match="does not exist in the cluster"):
        changed(data_path=path)
    with pytest.raises(ConfigError, match=r"pipeline\.serving = '/x' does not exist"):
        changed(settings={"pipeline": {"serving": "/x"}})


def test_steps_that_are_not_given_are_0_as_a_parameter() -> None:
    values = cluster_values(config(training={"steps": None}))
    assert default_parameters(values)["train_steps"] == 0
    assert changed(values).training.steps is None


def test_parameters_reach_the_configuration() -> None:
    run = changed(
        data_path="photos/2028",
        train_steps=77,
        seed=5,
        thresholds={"map@r": {"lower": 0.25}},
        settings={"training": {"learning_rate": 0.125}},
    )
    assert run.data.path == "/mnt/triplet/photos/2028"
    assert (run.training.steps, run.training.learning_rate) == (77, 0.125)
    assert (run.training.seed, run.triplets.seed) == (5, 5)
    assert list(run.evaluation.thresholds) == ["map@r"]
    assert run.evaluation.thresholds["map@r"].lower == 0.25


@pytest.mark.parametrize(
    ("configured", "run"),
    [
        ({}, {"loss": "multi_similarity"}),
        ({"loss": "proxy_anchor"}, {"loss": "margin"}),
        ({"mining": "hard", "steps": 300}, {"mining": "semi_hard"}),
    ],
)
def test_defaults_that_follow_from_a_key_follow_it_in_a_run(configured: dict, run: dict) -> None:
    values = cluster_values(config(training=configured))
    assert values["training"] == configured
    changed_run = changed(values, settings={"training": run})
    assert changed_run.training == config(training=configured | run).training


def test_a_span_in_the_data_path_says_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"belong into the patterns: \[data\] pattern"):
        changed(data_path="photos/span-{SPAN}")


def test_default_parameters_change_nothing() -> None:
    values = cluster_values(config(training={"seed": 3}, triplets={"seed": 4}))
    parameters = default_parameters(values)
    assert parameters["seed"] == -1  # there is no single one to show
    assert changed(values) == parse_config(values, "the test")
    tested = {"mrr": {"better": True}, "map@r": {"no_worse": 0.01, "undecided": "bless"}}
    values = cluster_values(config(evaluation={"thresholds": tested | {"d_an": {"lower": 0.1}}}))
    assert changed(values) == parse_config(values, "the test")
    assert default_parameters(cluster_values(config())) == {
        "data_path": "/mnt/triplet/photos/2027",
        "train_steps": 30,
        "seed": 0,
        "thresholds": {"precision@1": {"lower": 0.5}},
        "settings": {},
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"thresholds": {"accuracy": {"lower": 1}}}, "accuracy"),
        ({"settings": {"training": {"steps": "many"}}}, "training.steps: Input should be a valid"),
        ({"settings": {"trainer": {}}}, "trainer: unknown key; allowed here: audit, "),
    ],
)
def test_a_value_that_is_not_allowed_names_its_key(parameters: dict, message: str) -> None:
    with pytest.raises(ConfigError, match="parameters of this run") as error:
        changed(**parameters)
    assert message in str(error.value)
