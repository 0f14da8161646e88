"""The configuration as pods see it, and the table that says how."""

from __future__ import annotations

import pytest

from pipeline.config import Config, cluster_config, cluster_values, parse_config
from pipeline.config.cluster import PATHS
from pipeline.runtime import ConfigError


def config(**tables: dict) -> Config:
    given = {"pipeline": {"name": "digits"}, "data": {"path": "photos/2027"}}
    return parse_config(given | tables, "the test")


def test_paths_and_database_are_those_of_the_cluster() -> None:
    here = config(kubeflow={"metadata": "mysql://db/x", "directory": "/mnt/there"})
    there = cluster_config(here)
    assert (here.in_cluster, there.in_cluster) == (False, True)
    assert here.database == here.pipeline.metadata
    assert there.database == "mysql://db/x"
    assert there.pipeline.root == "/mnt/there/digits/artifacts"
    assert there.data.path == "/mnt/there/photos/2027"
    assert there.kubeflow == here.kubeflow
    with pytest.raises(ConfigError, match="does not exist in the cluster"):
        cluster_config(config(data={"path": "/home/me/photos"}))


def test_every_key_that_holds_a_path_is_known() -> None:
    found = set()
    for table, field in Config.model_fields.items():
        for name, key in field.annotation.model_fields.items():
            # Those that are made absolute when a configuration is read.
            kind = f"{key.annotation!r} {key.metadata!r}"
            if "function absolute" in kind or "_weights_path" in kind:
                found.add(f"{table}.{name}")
    assert found == set(PATHS)


def test_what_only_looks_like_a_path_stays() -> None:
    values = cluster_values(config(training={"distribution": "/GPU:0"}))
    assert values["training"]["distribution"] == "/GPU:0"


def test_a_bucket_instead_of_a_volume() -> None:
    cloud = {"directory": "gs://bucket/triplet"}
    values = cluster_values(
        config(kubeflow=cloud, pipeline={"name": "digits", "serving": "gs://other/serving"})
    )
    assert values["data"]["path"] == "gs://bucket/triplet/photos/2027"
    assert values["pipeline"]["serving"] == "gs://other/serving"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metadata": "postgresql://me:secret@db/x"}, "must not hold a user or a password"),
        ({"metadata": "sqlite:///x"}, "expected mysql://HOST"),
        ({"metadata": "grpc://db/x"}, "none with grpc"),
        ({"metadata": "mysql://db"}, "needs a /DATABASE"),
        ({"directory": "gs://b/x", "volume": "v"}, "volume has no effect with a gs:// directory"),
        ({"directory": "mnt"}, "kubeflow.directory: String should match pattern"),
        ({"nodes": {"Trainer": {"gpu": 1}}}, "unknown key; allowed here: annotations, cpu, env"),
        ({"memory": "lots"}, "kubeflow.memory: String should match pattern"),
    ],
)
def test_messages_about_the_table_kubeflow(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(kubeflow=settings)
    assert message in str(error.value)


def test_the_claim() -> None:
    assert config().kubeflow.claim == "triplet"
    assert config(kubeflow={"volume": "mine"}).kubeflow.claim == "mine"
    assert config(kubeflow={"directory": "gs://b/x"}).kubeflow.claim is None
