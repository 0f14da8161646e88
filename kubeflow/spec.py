"""The pipeline in Kubeflow's own format: one container task per TFX node."""

# No `from __future__ import annotations`: kfp reads the annotations of functions as types.

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import json_format
from kfp import compiler, components, dsl, kubernetes
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec import pipeline_spec_pb2

from kubeflow.cluster_config import default_parameters
from pipeline.config import Config, KubeflowSettings, NodeResources, PodSettings, cluster_values
from pipeline.metadata import PASSWORD, USERNAME
from pipeline.runtime import ConfigError

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

SCHEMA_VERSION = "2.1.0"  # the only one that the backend accepts
PREPARE = "prepare"
TRAINER = "Trainer"  # the node that gets the accelerators
_WAIT, _FACTOR = 10, 2  # seconds before the second try, and how much longer before each further one
# Of the parameters that are not text, in the words of a component file.
_INPUT_TYPES = {
    "train_steps": "Integer",
    "seed": "Integer",
    "thresholds": "JsonObject",
    "settings": "JsonObject",
}


def pipeline_yaml(config: Config, nodes: Mapping[str, list[str]], image: str) -> str:
    """Compiles a configuration to what Kubeflow Pipelines takes.

    Its first task, `prepare`, compiles the TFX pipeline with the parameters of the run; each of the
    others runs one node of it when the nodes before it are done. TFX does the caching.

    Args:
        config: The configuration.
        nodes: The nodes and what each waits for, as `kubeflow.ir.dag` returns them.
        image: Of `kubeflow/Dockerfile`, with its tag or digest.

    Returns:
        A PipelineSpec, and after `---` the Kubernetes part: volume, secret, scratch folder. The
        same arguments give the same text.

    Raises:
        ConfigError: A path that no pod can see, or resources for a node that does not exist.
    """
    settings = config.kubeflow
    if unknown := sorted(set(settings.nodes) - set(nodes)):
        raise ConfigError(
            f"kubeflow.nodes.{unknown[0]}: there is no such node; there are {', '.join(nodes)}"
        )
    values = cluster_values(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(
            pipeline_func=_pipeline(config.pipeline.name, settings, values, nodes, image),
            package_path=str(path),
        )
        spec, platforms = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    _let_retries_last(spec, settings, nodes)
    text = yaml.safe_dump_all([spec, platforms], sort_keys=True)
    parse_yaml(text)
    return text


def _let_retries_last(
    spec: dict[str, Any], settings: KubeflowSettings, nodes: Mapping[str, list[str]]
) -> None:
    """Gives all tries of a node the time that they may take.

    Argo ends a task when `backoffMaxDuration` has gone by since its first try began, the tries
    themselves counted, and kfp writes an hour at most.
    """
    for node in (PREPARE, *nodes):
        policy = spec["root"]["dag"]["tasks"][task_name(node)].get("retryPolicy")
        if policy:
            tries = settings.timeout_seconds(node) * (settings.retries + 1)
            waits = _WAIT * (_FACTOR**settings.retries - 1)
            policy["backoffMaxDuration"] = f"{tries + waits}s"


def parse_yaml(text: str) -> tuple[pipeline_spec_pb2.PipelineSpec, dict[str, Any]]:
    """Parses a compiled pipeline as strictly as the backend does.

    Returns:
        The PipelineSpec and the Kubernetes part of each task.

    Raises:
        ValueError: Not two documents, an unknown field, or a schema version that the backend
            does not accept.
    """
    try:
        bare, platforms = yaml.safe_load_all(text)
        spec = json_format.ParseDict(bare, pipeline_spec_pb2.PipelineSpec())
        executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for executor in executors.values():
            json_format.ParseDict(executor, KubernetesExecutorConfig())
    except (json_format.ParseError, yaml.YAMLError, LookupError, ValueError) as error:
        raise ValueError(f"Not a pipeline of Kubeflow Pipelines v2: {error}") from error
    if spec.schema_version != SCHEMA_VERSION:
        raise ValueError(
            f"The pipeline has the schema version {spec.schema_version}, but the backend accepts "
            f"{SCHEMA_VERSION} only; compile it with the locked version of kfp."
        )
    return spec, platforms


def _pipeline(
    name: str,
    cluster: KubeflowSettings,
    values: dict[str, Any],
    nodes: Mapping[str, list[str]],
    image: str,
) -> "BaseComponent":
    defaults = default_parameters(values)
    shared = {"runs": f"{cluster.directory}/{name}/runs", "metadata": cluster.metadata}

    @dsl.pipeline(name=name)
    def pipeline(
        data_path: str = defaults["data_path"],
        train_steps: int = defaults["train_steps"],
        seed: int = defaults["seed"],
        thresholds: dict[str, Any] = defaults["thresholds"],
        settings: dict[str, Any] = defaults["settings"],
    ) -> None:
        run = {"run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        configuration = {
            "config": json.dumps(values, sort_keys=True),
            "nodes": json.dumps(nodes),
            "directory": cluster.directory,
        }
        parameters = {
            "data_path": data_path,
            "train_steps": train_steps,
            "seed": seed,
            "thresholds": thresholds,
            "settings": settings,
        }
        first = _task(PREPARE, image, "kubeflow.prepare", configuration | shared, run | parameters)
        _configure(first, PREPARE, cluster)
        tasks = {}
        for node, upstream in nodes.items():
            tasks[node] = _task(node, image, "kubeflow.node", {"node": node} | shared, run)
            tasks[node].after(first, *(tasks[before] for before in upstream))
            _configure(tasks[node], node, cluster)

    return pipeline


def _task(
    node: str,
    image: str,
    module: str,
    constants: Mapping[str, str],
    inputs: Mapping[str, Any],
) -> dsl.PipelineTask:
    """Makes a task from arguments that never change and those that come with the run."""
    arguments: list[str | dict[str, str]] = []
    for name in (*constants, *inputs):
        value = constants.get(name, {"inputValue": name})
        arguments += [f"--{name.replace('_', '-')}", value]
    component = {
        "name": task_name(node),
        "inputs": [{"name": name, "type": _INPUT_TYPES.get(name, "String")} for name in inputs],
        "implementation": {
            "container": {"image": image, "command": ["python", "-m", module], "args": arguments}
        },
    }
    return components.load_component_from_text(yaml.safe_dump(component))(**inputs)


def task_name(node: str) -> str:
    """The name of a node's task: `BaselineResolver` is `baseline-resolver`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", node)
    return words.strip("-").lower()


def _configure(task: dsl.PipelineTask, node: str, settings: KubeflowSettings) -> None:
    own = settings.nodes.get(node)
    memory = (own and own.memory) or settings.memory
    task.set_display_name(node)
    task.set_caching_options(False)
    task.set_cpu_request((own and own.cpu) or settings.cpu)
    # A limit too: a pod that outgrows it fails alone instead of taking its neighbours along.
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    if node == TRAINER and settings.accelerators:
        task.set_accelerator_type(settings.accelerator)
        task.set_accelerator_limit(settings.accelerators)
    if settings.retries:
        task.set_retry(settings.retries, backoff_duration=f"{_WAIT}s", backoff_factor=_FACTOR)
    kubernetes.set_timeout(task, settings.timeout_seconds(node))
    if settings.run_as_non_root:
        kubernetes.set_security_context(task, run_as_non_root=True)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, settings.image_pull_secrets)
    for pods in (settings, own or NodeResources()):
        _place(task, pods)
    if settings.claim:
        kubernetes.mount_pvc(task, pvc_name=settings.claim, mount_path=settings.directory)
    # The image works with a read-only root file system; this is its scratch space.
    kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/tmp")
    if settings.metadata_secret and not settings.metadata.startswith("grpc"):
        kubernetes.use_secret_as_env(
            task, settings.metadata_secret, {"username": USERNAME, "password": PASSWORD}
        )


def _place(task: dsl.PipelineTask, pods: PodSettings) -> None:
    """Where the pod may run, and what is written on it; later calls add or replace."""
    for name, value in sorted(pods.node_selector.items()):
        kubernetes.add_node_selector(task, name, value)
    for toleration in pods.tolerations:
        kubernetes.add_toleration(
            task, toleration.key, toleration.operator, toleration.value, toleration.effect
        )
    for name, value in sorted(pods.env.items()):
        task.set_env_variable(name, value)
    for name, value in sorted(pods.labels.items()):
        kubernetes.add_pod_label(task, name, value)
    for name, value in sorted(pods.annotations.items()):
        kubernetes.add_pod_annotation(task, name, value)
