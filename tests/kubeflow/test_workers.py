"""Several machines: the Job in the cluster, and two real processes that train as one does."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from kubeflow import node
from kubeflow.retrying import may_pass
from kubeflow.spec import parse_yaml, pipeline_yaml
from kubeflow.workers import JobStarter, check_workers, workers_job
from modules import trainer
from modules.workers import WorkerLostError, use_starter
from pipeline.config import Config, cluster_values, parse_config
from pipeline.runtime import ConfigError, NodeFailedError
from tests.kubeflow.jobs import ACCOUNT, NAMESPACE, POD, Jobs, cluster
from tests.modules.test_trainer import ROWS, arguments, prepared  # noqa: F401
from tests.modules.training.training_runs import PLAIN

# Random changes of images are drawn on each replica by itself, so there are none.
TRAINING = {"steps": 12, "validate_every": 4, "patience": 9, "ema": 0.9, **PLAIN}
TWO = {"distribution": "multi_worker", "workers": 2}
IMAGE = "registry/triplet:1"
CLUSTER = {
    "accelerators": 2,
    "env": {"A": "1"},
    "image_pull_secrets": ["registry"],
    "nodes": {
        "Trainer": {
            "cpu": "4", "memory": "8Gi", "env": {"B": "2"}, "node_selector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu"}], "timeout_hours": 3,
        }
    },
}  # fmt: skip


def config(training: dict[str, Any] | None = None, **kubeflow: Any) -> Config:
    tables = {"pipeline": {"name": "digits"}, "data": {"path": "photos"}, "kubeflow": kubeflow}
    return parse_config(tables | {"training": TWO if training is None else training}, "the test")


def test_workers_get_what_the_trainer_gets() -> None:
    job = workers_job(config(**CLUSTER), IMAGE)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["command"] == ["python", "-m", "modules.trainer"]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "8Gi"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    }
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/tmp", "/mnt/triplet"}
    assert {"name": "volume", "persistentVolumeClaim": {"claimName": "triplet"}} in pod["volumes"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["securityContext"] == {"runAsNonRoot": True}
    assert job["spec"]["activeDeadlineSeconds"] == 3 * 3600
    bucket = workers_job(config(directory="gs://bucket/folder"), IMAGE)["spec"]["template"]["spec"]
    assert [volume["name"] for volume in bucket["volumes"]] == ["scratch"]
    assert workers_job(config({}), IMAGE) is None


def test_only_the_pod_of_the_trainer_is_told_of_the_job() -> None:
    nodes = {"ImageExampleGen": [], "Trainer": ["ImageExampleGen"], "Evaluator": ["Trainer"]}
    spec, _ = parse_yaml(pipeline_yaml(config(), nodes, IMAGE))
    told = {}
    for task in spec.root.dag.tasks:
        component = spec.components[spec.root.dag.tasks[task].component_ref.name]
        executor = spec.deployment_spec["executors"][component.executor_label]
        words = list(executor["container"]["args"])
        if "--workers-job" in words:
            told[task] = json.loads(words[words.index("--workers-job") + 1])
    assert told == {"trainer": workers_job(config(), IMAGE)}
    assert "--workers-job" not in pipeline_yaml(config({}), nodes, IMAGE)


def test_the_entrypoint_of_the_pod_uses_the_job(tmp_path, monkeypatch) -> None:
    used: list[JobStarter] = []
    monkeypatch.setattr(node, "use_starter", used.append)
    monkeypatch.setattr(node.signal, "signal", lambda *_: None)
    before = os.umask(0o022)
    words = [
        "--runs",
        str(tmp_path),
        "--run-id",
        "r",
        "--node",
        "Trainer",
        "--metadata",
        "grpc://h",
    ]
    done = CliRunner().invoke(node.main, [*words, "--workers-job", '{"kind": "Job"}'])
    os.umask(before)
    assert done.exit_code != 0  # there is no pipeline
    assert len(used) == 1


def test_parameters_of_a_run_cannot_ask_for_workers_that_were_not_compiled() -> None:
    with pytest.raises(ConfigError, match="compiled without workers"):
        check_workers(config(), cluster_values(config({})))
    check_workers(config(TWO | {"workers": 4}), cluster_values(config()))
    check_workers(config({}), cluster_values(config()))


@pytest.fixture
def jobs(tmp_path) -> Iterator[tuple[Jobs, JobStarter]]:
    """A cluster, and what starts workers in it."""
    (tmp_path / "logs").mkdir()
    with cluster(tmp_path / "logs") as (found, client):
        job = workers_job(config(), IMAGE)
        yield found, JobStarter(job, "run-1", POD, client, NAMESPACE)


def test_an_account_without_the_rights_is_told_which(jobs) -> None:
    found, start = jobs
    found.forbids = True
    with pytest.raises(NodeFailedError, match=r"HTTP 403.*kubeflow/manifests/workers"):
        start("folder", range(1, 2))


def test_a_lost_worker_is_reason_enough_to_try_again() -> None:
    failed = NodeFailedError("Trainer failed")
    failed.__cause__ = WorkerLostError("Worker 1 was killed (SIGKILL).")
    assert may_pass(failed)


def check_made(job: dict[str, Any]) -> None:
    """By the models of the Kubernetes client, which drop what they do not know."""
    client = kubernetes.client.ApiClient()
    answer = types.SimpleNamespace(data=json.dumps(job))
    known = client.sanitize_for_serialization(client.deserialize(answer, "V1Job"))
    assert known == {**job}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 1
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == ACCOUNT
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", POD, "uid-1")


def workers_of(folder: Path) -> dict[int, int]:
    """Processes of the workers that meet below a folder: process ids by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has ended
            continue
        if "modules.trainer" in words and any(word.startswith(f"{folder}/") for word in words):
            found[int(words[words.index("--number") + 1])] = int(process.name)
    return found


class Killer(threading.Thread):
    """Kills worker 1 at the first checkpoint."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.at = 0.0

    def run(self) -> None:
        while not [*self.run_folder.rglob("checkpoints/*/checkpoint")]:
            time.sleep(0.05)
        os.kill(workers_of(self.run_folder)[1], signal.SIGKILL)
        self.at = time.monotonic()


def embed(model: str) -> np.ndarray:
    images = tf.constant([image for image, _, _ in ROWS["eval"]])
    return tf.saved_model.load(model).signatures["images"](images=images)["embedding"].numpy()


@pytest.mark.slow
def test_two_workers_train_as_one_and_go_on_after_one_is_killed(
    prepared: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    jobs: tuple[Jobs, JobStarter],
) -> None:
    """The first try is on this machine alone, the second has worker 1 in a Job."""
    found, start = jobs
    killed, retry = (arguments(prepared, tmp_path, TRAINING | TWO, attempt=n) for n in (1, 2))
    alone = arguments(prepared, tmp_path / "alone", TRAINING)
    killer = Killer(tmp_path / "run")
    killer.start()
    with pytest.raises(WorkerLostError, match=r"^Worker 1 was killed \(SIGKILL\)[^$]*goes on at"):
        trainer.run_fn(killed)
    # It waits 10 seconds for the chief to end, which TensorFlow tells of the broken connection.
    assert time.monotonic() - killer.at < 60
    assert not workers_of(tmp_path)
    assert not Path(killed.serving_model_dir).exists()
    capfd.readouterr()

    use_starter(start)
    try:
        trainer.run_fn(retry)
    finally:
        use_starter(None)
    (job,) = found.made
    check_made(job)
    assert not found.jobs  # it was removed
    (log,) = (tmp_path / "logs").iterdir()
    said = [capfd.readouterr().out, log.read_text()]
    starts = [re.search(r"Goes on at step (\d+) of an earlier attempt", text)[1] for text in said]
    assert starts in (["4", "4"], ["8", "8"])
    ends = [re.search(r"Worker (.): 12 steps, weights (\w{8});", text).groups() for text in said]
    assert [number for number, _ in ends] == ["0", "1"]
    assert ends[0][1] == ends[1][1]
    assert not [path for path in tmp_path.rglob("workers-*") if path.is_dir()]

    trainer.run_fn(alone)
    # The gradient is a sum over 96 rows in float32, here of two sums over 48: it differs by some
    # roundings of 2⁻²⁴ ≈ 6e-8, and 12 steps of AdamW add up to 2e-6 in unit vectors.
    np.testing.assert_allclose(
        embed(retry.serving_model_dir), embed(alone.serving_model_dir), atol=1e-4
    )
    reports = [
        json.loads(Path(one.model_run_dir, "training.json").read_text()) for one in (retry, alone)
    ]
    for name in ("loss", "d_ap", "d_an", "val_map@r"):  # of the last four steps
        assert reports[0][name] == pytest.approx(reports[1][name], rel=1e-3)
    assert reports[0]["best"] == pytest.approx(reports[1]["best"])
