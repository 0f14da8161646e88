"""The compiled pipeline: the golden file, and what must hold for every configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubeflow.spec import SCHEMA_VERSION, parse_yaml, pipeline_yaml, task_name
from pipeline.config import Config, parse_config
from pipeline.config.paths import PROJECT
from pipeline.runtime import ConfigError

GOLDEN = Path(__file__).with_name("golden.yaml")
NODES = {
    "ImageExampleGen": [],
    "StatisticsGen": ["ImageExampleGen"],
    "Trainer": ["ImageExampleGen", "StatisticsGen"],
}


def config(**kubeflow: object) -> Config:
    return parse_config(
        {
            "pipeline": {"name": "digits"},
            "data": {"path": "photos"},
            "training": {"steps": 30},
            "kubeflow": {"accelerators": 1, "nodes": {"Trainer": {"cpu": "4", "memory": "8Gi"}}}
            | kubeflow,
        },
        "the test",
    )


def compiled(**kubeflow: object) -> tuple[dict, dict]:
    text = pipeline_yaml(config(**kubeflow), NODES, "registry/triplet:1")
    return tuple(yaml.safe_load_all(text))


def test_golden_file() -> None:
    """To renew it after a deliberate change: python -m tests.kubeflow.test_spec."""
    text = pipeline_yaml(config(), NODES, "registry/triplet:1")
    sdk = re.compile(r"^sdkVersion: .*$", re.MULTILINE)  # may move within the bounds
    assert sdk.sub("", text) == sdk.sub("", GOLDEN.read_text(encoding="utf-8"))


def test_another_process_compiles_the_same() -> None:
    script = (
        "import sys; from tests.kubeflow.test_spec import *; "
        "sys.stdout.write(pipeline_yaml(config(), NODES, 'registry/triplet:1'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.stdout == pipeline_yaml(config(), NODES, "registry/triplet:1")


def test_the_whole_chain_compiles_to_the_same_in_every_process(tmp_path) -> None:
    config_file = tmp_path / "digits.toml"
    config_file.write_text('[pipeline]\nname = "digits"\n[data]\npath = "photos"\n')
    texts = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.yaml"
        done = subprocess.run(
            [
                sys.executable, "-m", "kubeflow", "compile", "--config", config_file,
                "--image", "registry/triplet:1", "--output", output,
            ],
            cwd=PROJECT, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        texts.append(output.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    spec, _ = parse_yaml(texts[0])
    tasks = spec.root.dag.tasks
    assert {"prepare", "triplet-gen", "trainer", "baseline-resolver", "evaluator", "pusher"} < set(
        tasks
    )
    assert {"trainer", "evaluator"} <= set(tasks["pusher"].dependent_tasks)
    assert str(PROJECT) not in texts[0]
    assert str(tmp_path) not in texts[0]


def test_no_secret_and_no_path_of_this_machine() -> None:
    text = pipeline_yaml(config(), NODES, "registry/triplet:1")
    assert str(PROJECT) not in text
    assert not re.search(r"(?<![\w/.])/(home|root|tmp/\w|Users|work)\b", text)
    assert "METADATA_PASSWORD" in text  # the name of the variable, filled by Kubernetes
    assert not re.search(r"password['\"]?: (?!METADATA)", text, re.IGNORECASE)


def test_the_graph_retries_and_caching() -> None:
    spec, _ = compiled()
    tasks = spec["root"]["dag"]["tasks"]
    assert spec["schemaVersion"] == SCHEMA_VERSION == "2.1.0"
    assert {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()} == {
        "prepare": set(),
        "image-example-gen": {"prepare"},
        "statistics-gen": {"prepare", "image-example-gen"},
        "trainer": {"prepare", "image-example-gen", "statistics-gen"},
    }
    for task in tasks.values():
        assert task["cachingOptions"] == {}  # TFX does it
        assert task["retryPolicy"]["maxRetryCount"] == 2
    assert set(spec["root"]["inputDefinitions"]["parameters"]) == {
        "data_path", "train_steps", "seed", "thresholds", "settings",
    }  # fmt: skip
    spec, _ = compiled(retries=0)
    assert all("retryPolicy" not in task for task in spec["root"]["dag"]["tasks"].values())


def test_resources() -> None:
    spec, _ = compiled(memory="3Gi", cpu="500m")
    found = {
        name: executor["container"]["resources"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }
    trainer = found.pop("exec-trainer")
    assert (trainer["resourceCpuRequest"], trainer["resourceMemoryLimit"]) == ("4", "8Gi")
    assert trainer["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert trainer["accelerator"]["resourceCount"] == "1"
    for other in found.values():
        assert (other["resourceCpuRequest"], other["resourceMemoryLimit"]) == ("500m", "3Gi")
        assert "accelerator" not in other
    with pytest.raises(ConfigError, match=r"kubeflow.nodes.Tuner: there is no such node; there"):
        compiled(nodes={"Tuner": {"cpu": "1"}})


def executors_of(**kubeflow: object) -> dict[str, dict]:
    _, platforms = compiled(**kubeflow)
    return platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_try_of_a_node_has_its_time() -> None:
    """Argo counts from the start of the first try, and a second one must fit behind the longest."""
    nodes = {"ImageExampleGen": {"timeout_hours": 2}}
    found = {
        name: int(one["activeDeadlineSeconds"])
        for name, one in executors_of(timeout_hours=0.5, nodes=nodes).items()
    }
    assert found == {
        "exec-prepare": 1800,
        "exec-image-example-gen": 7200,
        "exec-statistics-gen": 1800,
        "exec-trainer": 24 * 3600,
    }
    spec, _ = compiled(timeout_hours=0.5, nodes=nodes, retries=3)
    for name, task in spec["root"]["dag"]["tasks"].items():
        waits = 10 + 20 + 40
        most = 4 * found[f"exec-{name}"] + waits
        assert task["retryPolicy"]["backoffMaxDuration"] == f"{most}s"
    longer = {"Trainer": {"timeout_hours": 72}}
    assert executors_of(nodes=longer)["exec-trainer"]["activeDeadlineSeconds"] == str(72 * 3600)
    assert executors_of(timeout_hours=48)["exec-trainer"]["activeDeadlineSeconds"] == str(48 * 3600)


def test_where_pods_run_and_what_is_written_on_them() -> None:
    spec, platforms = compiled(
        image_pull_secrets=["registry"],
        node_selector={"pool": "cpu", "disk": "ssd"},
        tolerations=[{"key": "batch"}],
        env={"TF_CPP_MIN_LOG_LEVEL": "1"},
        labels={"team": "search"},
        annotations={"example.com/note": "a text"},
        nodes={
            "Trainer": {
                "node_selector": {"pool": "gpu"},
                "tolerations": [
                    {"key": "nvidia.com/gpu", "operator": "Equal", "value": "yes",
                     "effect": "NoSchedule"}
                ],
                "env": {"NCCL_DEBUG": "INFO"},
            }
        },
    )  # fmt: skip
    containers = spec["deploymentSpec"]["executors"]
    for name, executor in platforms["platforms"]["kubernetes"]["deploymentSpec"][
        "executors"
    ].items():
        trainer = name == "exec-trainer"
        assert [one["secretName"] for one in executor["imagePullSecret"]] == ["registry"]
        assert executor["nodeSelector"]["labels"] == {
            "pool": "gpu" if trainer else "cpu", "disk": "ssd",
        }  # fmt: skip
        assert [one["key"] for one in executor["tolerations"]] == (
            ["batch", "nvidia.com/gpu"] if trainer else ["batch"]
        )
        assert executor["tolerations"][0]["operator"] == "Exists"
        assert executor["podMetadata"] == {
            "labels": {"team": "search"}, "annotations": {"example.com/note": "a text"},
        }  # fmt: skip
        env = {one["name"]: one["value"] for one in containers[name]["container"]["env"]}
        more = {"NCCL_DEBUG": "INFO"} if trainer else {}
        assert env == {"TF_CPP_MIN_LOG_LEVEL": "1"} | more
        assert executor["securityContext"] == {"runAsNonRoot": True}
    assert all("securityContext" not in one for one in executors_of(run_as_non_root=False).values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": {"team": "a b"}}, "'team' = 'a b' is no label of Kubernetes"),
        ({"node_selector": {"-x": "y"}}, "is no label of Kubernetes"),
        ({"annotations": {"a b": "y"}}, "is no name of an annotation"),
        ({"env": {"1A": "y"}}, "is no name of an environment variable"),
        ({"env": {"METADATA_PASSWORD": "y"}}, "comes from the Secret"),
        ({"tolerations": [{"key": "x", "operator": "Equal"}]}, "give both or neither"),
        ({"tolerations": [{"operator": "Equal", "value": "x"}]}, "needs a key"),
        ({"timeout_hours": 0}, "greater than 0"),
    ],
)
def test_what_kubernetes_would_refuse(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**wrong)


def test_every_pod_gets_the_volume_the_secret_and_scratch_space() -> None:
    _, platforms = compiled(volume="shared", metadata_secret="mysql-secret")
    executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == 1 + len(NODES)
    for executor in executors.values():
        (mount,) = executor["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("shared", "/mnt/triplet")
        (secret,) = executor["secretAsEnv"]
        assert secret["secretName"] == "mysql-secret"
        assert {pair["secretKey"]: pair["envVar"] for pair in secret["keyToEnv"]} == {
            "username": "METADATA_USERNAME",
            "password": "METADATA_PASSWORD",
        }
        assert [mount["mountPath"] for mount in executor["emptyDirMounts"]] == ["/tmp"]


def test_a_bucket_and_a_metadata_server_need_neither_volume_nor_secret() -> None:
    spec, platforms = compiled(directory="gs://bucket/x", metadata="grpc://metadata:8080")
    for executor in platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert set(executor) == {"emptyDirMounts", "activeDeadlineSeconds", "securityContext"}
    arguments = spec["deploymentSpec"]["executors"]["exec-trainer"]["container"]["args"]
    assert "gs://bucket/x/digits/runs" in arguments


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schemaVersion: 2.1.0", "schemaVersion: 2.2.0", "the backend accepts 2.1.0 only"),
        ("retryPolicy:", "retries:", "Not a pipeline of Kubeflow Pipelines v2"),
        ("emptyDirMounts:", "emptyMounts:", "Not a pipeline of Kubeflow Pipelines v2"),
    ],
)
def test_strict_parsing(old: str, new: str, message: str) -> None:
    text = GOLDEN.read_text(encoding="utf-8")
    assert parse_yaml(text)[0].pipeline_info.name == "digits"
    assert old in text
    with pytest.raises(ValueError, match=message):
        parse_yaml(text.replace(old, new))


@pytest.mark.parametrize(
    ("node", "task"),
    [
        ("BaselineResolver", "baseline-resolver"),
        ("Pusher", "pusher"),
        ("SchemaGen.1", "schema-gen-1"),
    ],
)
def test_task_names(node: str, task: str) -> None:
    assert task_name(node) == task


if __name__ == "__main__":
    GOLDEN.write_text(pipeline_yaml(config(), NODES, "registry/triplet:1"), encoding="utf-8")
