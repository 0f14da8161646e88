"""The compiled pipeline: the golden file, and what must hold for every configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubeflow.ir import compile_ir, dag
from kubeflow.spec import SCHEMA_VERSION, parse_yaml, pipeline_yaml
from pipeline.config import Config, cluster_values, load_config, parse_config
from pipeline.config.paths import PROJECT
from pipeline.runtime import ConfigError
from tests.kubeflow.pods import Pods

GOLDEN = Path(__file__).with_name("golden.yaml")
NODES = {
    "ImageExampleGen": [],
    "StatisticsGen": ["ImageExampleGen"],
    "Trainer": ["ImageExampleGen", "StatisticsGen"],
    "Evaluator": ["ImageExampleGen", "Trainer"],
    "Pusher": ["Evaluator", "Trainer"],
}
DATA, LAST = "image-example-gen-to-statistics-gen", "evaluator-to-pusher"
LEVEL = 30  # seconds at most that a task costs, whatever it does; 20 to 30 were seen on a cluster


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


@pytest.fixture(scope="module")
def whole_chain(tmp_path_factory) -> Path:
    """The chain of a new configuration, compiled by the command in a process of its own."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "digits.toml").write_text('[pipeline]\nname = "digits"\n[data]\npath = "photos"\n')
    done = subprocess.run(
        [
            sys.executable, "-m", "kubeflow", "compile", "--config", folder / "digits.toml",
            "--image", "registry/triplet:1", "--output", folder / "digits.yaml",
        ],
        cwd=PROJECT, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "prepare and 15 nodes in 6 pods: " in done.stdout
    return folder / "digits.yaml"


def test_another_process_compiles_the_same(whole_chain) -> None:
    text = whole_chain.read_text(encoding="utf-8")
    here = load_config(str(whole_chain.with_suffix(".toml")))
    nodes = dag(compile_ir(parse_config(cluster_values(here), "the test")))
    assert pipeline_yaml(here, nodes, "registry/triplet:1") == text
    assert str(PROJECT) not in text
    assert str(whole_chain.parent) not in text


def test_pods_and_levels_of_a_run(whole_chain, tmp_path) -> None:
    """Of Kubeflow's own there are a driver of the run and one before each task."""
    pods = Pods(whole_chain, tmp_path)
    tasks = list(pods.order())
    assert tasks == [
        "prepare", "import-example-gen-to-example-validator", "audit-model-resolver-to-data-audit",
        "transform", "triplet-gen", "trainer", "baseline-resolver-to-pusher",
    ]  # fmt: skip
    assert 1 + 2 * len(tasks) == 15
    assert pods.levels() == 5  # the audit, transform and triplet-gen run side by side
    assert pods.levels() * LEVEL <= 150

    # Without news: the driver of a task right after prepare finds out that it is skipped, and
    # nothing starts for those after it.
    asked = [name for name in tasks if pods.tasks[name].trigger_policy.condition]
    assert asked == ["import-example-gen-to-example-validator"]
    assert all("prepare" not in pods.tasks[name].dependent_tasks for name in {*tasks} - {*asked})
    (news,) = pods.spec.components["comp-prepare"].output_definitions.parameters
    for value, skipped in (("true", []), ("false", tasks[1:])):
        (tmp_path / value / "prepare").mkdir(parents=True)
        (tmp_path / value / "prepare" / news).write_text(value)
        assert [name for name in tasks if pods.is_skipped(name, value)] == skipped
    assert 1 + 2 + len(asked) == 4
    assert pods.levels(lambda name: name in ("prepare", *asked)) * LEVEL <= 60


def test_one_pod_for_each_node_where_that_is_asked_for() -> None:
    spec, _ = compiled(share_pods=False)
    assert set(spec["root"]["dag"]["tasks"]) == {
        "prepare", "image-example-gen", "statistics-gen", "trainer", "evaluator", "pusher",
    }  # fmt: skip
    spec, _ = compiled(nodes={"StatisticsGen": {"memory": "16Gi"}, "Evaluator": {"cpu": "2"}})
    assert set(spec["root"]["dag"]["tasks"]) == {
        "prepare", "image-example-gen", "statistics-gen", "trainer", LAST,
    }  # fmt: skip
    memory = {
        name: executor["container"]["resources"]["resourceMemoryLimit"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }
    assert memory["exec-statistics-gen"] == "16Gi"
    assert memory["exec-image-example-gen"] == "4Gi"


def test_what_kubeflow_shows() -> None:
    spec, platforms = compiled(ttl_hours=48, labels={"triplet-pipeline": "mine"})
    made = {
        name: {
            key: kind["artifactType"]["schemaTitle"]
            for key, kind in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        for name, component in spec["components"].items()
    }
    assert made.pop(f"comp-{LAST}") == {"metrics": "system.Metrics", "pushed": "system.Model"}
    assert not any(made.values())
    words = spec["deploymentSpec"]["executors"][f"exec-{LAST}"]["container"]["args"]
    assert words[-2:] == ["--executor-input", "{{$}}"]
    nodes = NODES | {"ReportGen": ["Pusher"]}
    text = pipeline_yaml(config(), nodes, "registry/triplet:1")
    found = yaml.safe_load(text.split("---")[0])
    outputs = found["components"]["comp-evaluator-to-report-gen"]["outputDefinitions"]
    assert outputs["artifacts"]["report"]["artifactType"]["schemaTitle"] == "system.HTML"
    executors = found["deploymentSpec"]["executors"]
    words = executors["exec-evaluator-to-report-gen"]["container"]["args"]
    assert words[-2:] == ["--report", "{{$.outputs.artifacts['report'].path}}"]

    information = spec["pipelineInfo"]
    configuration = re.fullmatch(
        r"Configuration ([0-9a-f]{12}), image registry/triplet:1\.", information["description"]
    )[1]
    kubernetes = platforms["platforms"]["kubernetes"]
    assert kubernetes["pipelineConfig"] == {"resourceTtlOnCompletion": 48 * 3600}
    marks = kubernetes["deploymentSpec"]["executors"][f"exec-{LAST}"]["podMetadata"]
    assert marks == {
        "labels": {"triplet-pipeline": "mine", "triplet-node": LAST},
        "annotations": {
            "triplet-nodes": "Evaluator,Pusher", "triplet-configuration": configuration,
        },
    }  # fmt: skip
    assert "pipelineConfig" not in compiled()[1]["platforms"]["kubernetes"]


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
        "prepare": set(), DATA: {"prepare"}, "trainer": {DATA}, LAST: {"trainer"},
    }  # fmt: skip
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
        f"exec-{LAST}": 1800,
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
        marks = executor["podMetadata"]
        assert marks["labels"]["team"] == "search"
        assert marks["annotations"]["example.com/note"] == "a text"
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
    assert executors.keys() == {"exec-prepare", f"exec-{DATA}", "exec-trainer", f"exec-{LAST}"}
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
        assert set(executor) == {
            "emptyDirMounts", "activeDeadlineSeconds", "securityContext", "podMetadata",
        }  # fmt: skip
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


if __name__ == "__main__":
    GOLDEN.write_text(pipeline_yaml(config(), NODES, "registry/triplet:1"), encoding="utf-8")
