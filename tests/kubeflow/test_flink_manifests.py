"""Flink and Beam's job server in the cluster: checked against the API, the settings, each other.

They were never run: neither a cluster nor Beam's jar for Flink could be had.
"""

from __future__ import annotations

import json
import types

import apache_beam
import kubernetes
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from kubeflow.group_access import UMASK
from pipeline.config import BeamSettings
from pipeline.config.kubeflow import KubeflowSettings
from tests.kubeflow.test_manifests import MANIFESTS, documents

FLINK = MANIFESTS / "flink"
DEFAULTS = KubeflowSettings()
# Of the operator's CustomResourceDefinition, version 1.13.
KNOWN = {
    "": {"image", "flinkVersion", "serviceAccount", "flinkConfiguration", "jobManager",
         "taskManager"},
    "jobManager": {"resource", "replicas", "podTemplate"},
    "taskManager": {"resource", "replicas", "podTemplate"},
}  # fmt: skip


def found() -> dict[str, dict]:
    """What the kustomization lists, by kind and name."""
    (kustomization,) = documents(FLINK / "kustomization.yaml")
    assert {*kustomization["resources"], *kustomization["configurations"]} == {
        path.name for path in FLINK.glob("*.yaml")
    } - {"kustomization.yaml"}
    listed = [one for name in kustomization["resources"] for one in documents(FLINK / name)]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in listed}


def test_flink_has_only_fields_that_the_operator_knows() -> None:
    cluster = found()["FlinkDeployment/triplet-flink"]
    assert cluster["apiVersion"] == "flink.apache.org/v1beta1"
    spec = cluster["spec"]
    assert set(spec) <= KNOWN[""]
    for part in ("jobManager", "taskManager"):
        assert set(spec[part]) <= KNOWN[part]
    assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values())
    pod = spec["taskManager"]["podTemplate"]
    client = kubernetes.client.ApiClient()
    answer = types.SimpleNamespace(data=json.dumps({"spec": pod["spec"]}))
    known = client.sanitize_for_serialization(client.deserialize(answer, "V1PodTemplateSpec"))
    assert known["spec"] == pod["spec"]


def test_versions_fit() -> None:
    cluster = found()["FlinkDeployment/triplet-flink"]["spec"]
    version = cluster["flinkVersion"].removeprefix("v").replace("_", ".")
    assert cluster["image"] == f"flink:{version}"
    assert version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    (server,) = found()["Deployment/triplet-beam"]["spec"]["template"]["spec"]["containers"]
    beam = apache_beam.__version__
    assert server["image"] == f"apache/beam_flink{version}_job_server:{beam}"


def test_job_server_workers_and_settings_meet() -> None:
    service = found()["Service/triplet-beam"]
    (server,) = found()["Deployment/triplet-beam"]["spec"]["template"]["spec"]["containers"]
    arguments = dict(one.removeprefix("--").split("=", 1) for one in server["args"])
    ports = {port["name"]: str(port["containerPort"]) for port in server["ports"]}
    assert (arguments["job-port"], arguments["artifact-port"]) == (
        ports["jobs"],
        ports["artifacts"],
    )
    # The operator names the Service of the REST interface after the deployment.
    assert arguments["flink-master"] == "triplet-flink-rest:8081"
    assert arguments["artifacts-dir"].startswith(DEFAULTS.directory)
    (port,) = service["spec"]["ports"]
    pods = found()["FlinkDeployment/triplet-flink"]["spec"]["taskManager"]["podTemplate"]["spec"]
    main, workers = pods["containers"]
    assert main["name"] == "flink-main-container"
    assert workers["command"] == ["sh", "-c"]
    umask, start = workers["args"][0].split(" && exec ")
    assert int(umask.removeprefix("umask "), 8) == UMASK
    program, port_of_pool = start.split(" --service_port=")
    assert program == "python -m apache_beam.runners.worker.worker_pool_main"
    address = f"localhost:{port_of_pool}"
    # What the page says to write.
    text = (MANIFESTS.parents[1] / "docs" / "beam.md").read_text(encoding="utf-8")
    for key, value in (
        ("endpoint", f"{service['metadata']['name']}:{port['port']}"), ("worker_pool", address)
    ):  # fmt: skip
        assert f'{key} = "{value}"' in text
    BeamSettings(runner="flink", endpoint="triplet-beam:8099", worker_pool=address)
    # All see the files at the same place, and may write there.
    claims = set()
    for spec in (pods, found()["Deployment/triplet-beam"]["spec"]["template"]["spec"]):
        assert spec["securityContext"]["fsGroup"] == 0
        claims |= {
            v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if v["name"] == "data"
        }
        for container in spec["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts["data"] == DEFAULTS.directory
    assert claims == {DEFAULTS.claim}


def test_only_pods_of_pipelines_send_jobs() -> None:
    policies = {name: one for name, one in found().items() if name.startswith("NetworkPolicy")}
    (rule,) = policies["NetworkPolicy/triplet-beam"]["spec"]["ingress"]
    (database,) = yaml.safe_load((MANIFESTS / "metadata" / "network-policy.yaml").read_text())[
        "spec"
    ]["ingress"]
    assert rule["from"] == database["from"]
    assert {port["port"] for port in rule["ports"]} == {"jobs", "artifacts"}
    for policy in policies.values():
        assert policy["spec"]["policyTypes"] == ["Ingress"]
