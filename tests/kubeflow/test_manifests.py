"""The manifests and the Dockerfile: parsed, and checked against the settings and each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import types
import urllib.parse
from pathlib import Path

import apache_beam
import kubernetes
import pytest
import yaml

from pipeline.config.kubeflow import KubeflowSettings
from pipeline.config.paths import PROJECT
from pipeline.web.server import LAST_ANSWERS
from tests.documents import check_command

KUBEFLOW = PROJECT / "kubeflow"
MANIFESTS = KUBEFLOW / "manifests"
DEFAULTS = KubeflowSettings()


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def resources(folder: str) -> dict[str, dict]:
    """Everything a kustomization lists, by kind."""
    (kustomization,) = documents(MANIFESTS / folder / "kustomization.yaml")
    found = {}
    for name in kustomization["resources"]:
        for document in documents(MANIFESTS / folder / name):
            assert document["kind"] not in found
            found[document["kind"]] = document
    return {**found, "Kustomization": kustomization}


@pytest.mark.parametrize("folder", ["volume", "metadata", "serving", "search", "workers"])
def test_every_file_belongs_to_its_kustomization(folder: str) -> None:
    listed = resources(folder)["Kustomization"]["resources"]
    present = {path.name for path in (MANIFESTS / folder).glob("*.yaml")}
    assert present == {*listed, "kustomization.yaml"}
    # That of the command, which may be a profile's: `kubectl apply -n NAMESPACE -k …`.
    for document in resources(folder).values():
        assert "namespace" not in document
        assert "namespace" not in document.get("metadata", {})


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*/*.yaml")), ids=lambda path: path.name)
def test_every_field_is_one_of_the_kubernetes_api(path: Path) -> None:
    """The models of the Kubernetes client are made from the published OpenAPI schema.

    They drop what they do not know, and refuse values and missing fields that the schema forbids.
    """
    client = kubernetes.client.ApiClient()
    for document in documents(path):
        # Those of Flink: tests/kubeflow/test_flink_manifests.py.
        if document.get("kind") in (None, "Kustomization", "FlinkDeployment"):
            continue
        model = f"{document['apiVersion'].split('/')[-1].capitalize()}{document['kind']}"
        answer = types.SimpleNamespace(data=json.dumps(document))
        known = client.sanitize_for_serialization(client.deserialize(answer, model))
        assert known == document


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on this machine")
@pytest.mark.parametrize("folder", ["volume", "metadata", "serving", "search", "flink", "workers"])
def test_kustomize_renders_the_folder(folder: str, tmp_path) -> None:
    shutil.copytree(MANIFESTS / folder, tmp_path / folder)
    example = tmp_path / folder / "credentials.env.example"
    if example.exists():
        example.rename(example.with_name("credentials.env"))
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    listed = documents(MANIFESTS / folder / "kustomization.yaml")[0]["resources"]
    expected = {one["kind"] for name in listed for one in documents(MANIFESTS / folder / name)}
    assert {document["kind"] for document in rendered} >= expected
    assert "image: triplet\n" not in done.stdout


def test_the_claim_is_the_one_that_pods_mount() -> None:
    claim = resources("volume")["PersistentVolumeClaim"]
    assert claim["metadata"]["name"] == DEFAULTS.claim
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_database_is_where_the_settings_expect_it() -> None:
    found = resources("metadata")
    service, database = found["Service"], found["StatefulSet"]
    url = urllib.parse.urlsplit(DEFAULTS.metadata)
    assert url.scheme == "postgresql"
    assert service["metadata"]["name"] == url.hostname == database["spec"]["serviceName"]
    (port,) = service["spec"]["ports"]
    assert port["port"] == url.port
    pod = database["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert {p["name"]: p["containerPort"] for p in container["ports"]} == {
        port["targetPort"]: url.port
    }
    environment = {variable["name"]: variable for variable in container["env"]}
    assert environment["POSTGRES_DB"]["value"] == url.path.strip("/")
    (secret,) = found["Kustomization"]["secretGenerator"]
    assert secret["name"] == DEFAULTS.metadata_secret
    example = (MANIFESTS / "metadata" / "credentials.env.example").read_text()
    keys = re.findall(r"^(\w+)=", example, re.MULTILINE)
    assert keys == ["username", "password"]
    assert not re.search(r"password=.", example)
    for variable, key in (("POSTGRES_USER", "username"), ("POSTGRES_PASSWORD", "password")):
        reference = environment[variable]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": DEFAULTS.metadata_secret, "key": key}
    # The secret itself is never committed, and its name stays what the pods ask for.
    assert (MANIFESTS / "metadata" / ".gitignore").read_text().strip() == secret["envs"][0]
    assert found["Kustomization"]["generatorOptions"]["disableNameSuffixHash"] is True


def test_serving_reads_what_pusher_writes() -> None:
    found = resources("serving")
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "models"]
    assert mount["mountPath"] == DEFAULTS.directory
    assert mount["readOnly"] is True
    volumes = {v["name"]: v for v in found["Deployment"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == DEFAULTS.claim
    (base,) = [a for a in container["args"] if a.startswith("--model_base_path=")]
    assert base == f"--model_base_path={DEFAULTS.directory}/$(PIPELINE)/serving"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--port={ports['grpc']}" in container["args"]
    assert f"--rest_api_port={ports['rest']}" in container["args"]
    for port in found["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    assert "/v1/models/triplet" in container["readinessProbe"]["httpGet"]["path"]
    assert "--model_name=triplet" in container["args"]


def test_search_reads_what_pusher_writes(tmp_path) -> None:
    """The arguments are parsed by the command itself; probes and ports are those of the server."""
    found = resources("search")
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    python, *words = container["command"]
    assert python == "python"
    check_command([".venv/bin/python", *words, *container["args"]], tmp_path)
    assert f"--model={DEFAULTS.directory}/$(PIPELINE)/serving" in container["args"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "models"]
    assert (mount["mountPath"], mount["readOnly"]) == (DEFAULTS.directory, True)
    volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == DEFAULTS.claim
    (port,) = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    (sleep,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert pod["spec"]["terminationGracePeriodSeconds"] >= int(sleep) + LAST_ANSWERS


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("metadata", "StatefulSet"), ("serving", "Deployment"), ("search", "Deployment")],
)
def test_labels_policies_and_privileges(folder: str, kind: str) -> None:
    found = resources(folder)
    workload, policy = found[kind], found["NetworkPolicy"]
    template = workload["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "egress" not in policy["spec"]  # none is allowed
    (container,) = template["spec"]["containers"]
    (rule,) = policy["spec"]["ingress"]
    assert {p["port"] for p in rule["ports"]} == {p["name"] for p in container["ports"]}
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert template["spec"]["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    claims = [c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])]
    assert mounts == {v["name"] for v in template["spec"]["volumes"]} | set(claims)
    images = {image["name"] for image in found["Kustomization"]["images"]}
    assert container["image"] in images


def stages() -> list[list[str]]:
    """The instructions of each stage of the Dockerfile."""
    text = (KUBEFLOW / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(" ".join(line.split()))
    return found


def test_the_image() -> None:
    arguments, base, build, final, _, _, last = stages()
    assert [line.split("=")[0] for line in arguments] == ["ARG BASE", "ARG BEAM_BOOT"]
    assert base[0] == "FROM ${BASE} AS python"
    assert final[0] == "FROM python AS triplet"
    assert last == ["FROM triplet"]
    assert any("--require-hashes" in line for line in build)
    assert any("compileall" in line for line in build)
    # Compilers stay in the stage that builds.
    assert "g++" in " ".join(build)
    assert not any(word in " ".join(base + final) for word in ("g++", "-dev", "pip install"))
    (user,) = [line for line in final if line.startswith("USER ")]
    number, group = re.fullmatch(r"USER (\d+):(\d+)", user).groups()
    assert int(number) > 0
    assert group == "0"
    assert "VOLUME /tmp" in final
    for room in ("pipeline", "components", "modules", "kubeflow"):
        assert f"COPY {room} /app/{room}" in build
    ignored = (KUBEFLOW / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [line.split()[1] for line in build if line.startswith("COPY ")]
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)


def test_the_image_of_a_worker_of_beam() -> None:
    """Beam's program of the installed version, in front of the same image."""
    arguments, _, _, _, boot, beam, _ = stages()
    image = arguments[1].removeprefix("ARG BEAM_BOOT=")
    assert re.fullmatch(rf"apache/beam_python3\.\d+_sdk:{apache_beam.__version__}", image)
    assert boot == ["FROM ${BEAM_BOOT} AS boot"]
    assert beam == [
        "FROM triplet AS beam",
        "COPY --from=boot /opt/apache/beam/boot /opt/apache/beam/boot",
        "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1",
        'ENTRYPOINT ["/opt/apache/beam/boot"]',
    ]
