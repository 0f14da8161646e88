"""The pipeline in Kubeflow's own format: one container task for each pod of TFX nodes."""

# No `from __future__ import annotations`: kfp reads the annotations of functions as types.

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import json_format
from kfp import compiler, components, dsl
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec import pipeline_spec_pb2

from kubeflow.cluster_config import default_parameters
from kubeflow.kfp_outputs import REPORT, outputs_of
from kubeflow.pod_settings import configure, longest_seconds
from kubeflow.sharing import TRAINER, Pod, share_pods
from kubeflow.workers import workers_job
from pipeline.config import Config, KubeflowSettings, cluster_values
from pipeline.runtime import ConfigError

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

SCHEMA_VERSION = "2.1.0"  # the only one that the backend accepts
PREPARE = "prepare"
NEWS = "news"  # output of `prepare`, and input of the tasks that come right after it
# As the backend evaluates it: a task for which it is false is skipped, and all that are after it.
_CONDITION = f"inputs.parameter_values['{NEWS}'] == 'true'"
# Of the parameters that are not text, in the words of a component file.
_INPUT_TYPES = {
    "train_steps": "Integer",
    "seed": "Integer",
    "thresholds": "JsonObject",
    "settings": "JsonObject",
}


def pipeline_yaml(config: Config, nodes: Mapping[str, list[str]], image: str) -> str:
    """Compiles a configuration to what Kubeflow Pipelines takes.

    Its first task, `prepare`, compiles the TFX pipeline with the parameters of the run and does
    what comes from the cache. If anything is left, each of the others runs nodes when the pods
    before it are done; else they are skipped. TFX does the caching.

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
    pods = pods_of(config, nodes)
    text = json.dumps(values, sort_keys=True)
    written_on = {
        "pipeline": config.pipeline.name,
        "configuration": hashlib.sha256(text.encode()).hexdigest()[:12],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(
            pipeline_func=_pipeline(
                written_on, settings, values, nodes, pods, workers_job(config, image), image
            ),
            package_path=str(path),
        )
        spec, platforms = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    _complete(spec, platforms, settings, pods)
    text = yaml.safe_dump_all([spec, platforms], sort_keys=True)
    parse_yaml(text)
    return text


def pods_of(config: Config, nodes: Mapping[str, list[str]]) -> list[Pod]:
    """Which nodes share a pod, by the configuration."""
    settings = config.kubeflow
    return share_pods(nodes, {TRAINER, *settings.nodes}, share=settings.share_pods)


def _complete(
    spec: dict[str, Any],
    platforms: dict[str, Any],
    settings: KubeflowSettings,
    pods: Sequence[Pod],
) -> None:
    """Adds what kfp's compiler cannot write.

    All tries of a pod get the time that they may take: Argo ends a task when `backoffMaxDuration`
    has gone by since its first try began, the tries themselves counted, and kfp writes an hour at
    most. Tasks right after `prepare` get their condition; kfp would make a graph within the graph
    of it, with a pod more.
    """
    tasks = spec["root"]["dag"]["tasks"]
    members = {PREPARE: (PREPARE,)} | {pod.task: pod.nodes for pod in pods}
    for task, nodes in members.items():
        if policy := tasks[task].get("retryPolicy"):
            policy["backoffMaxDuration"] = f"{longest_seconds(settings, nodes)}s"
        if NEWS in tasks[task].get("inputs", {}).get("parameters", {}):
            tasks[task]["triggerPolicy"] = {"condition": _CONDITION}
    if settings.ttl_hours:
        seconds = round(settings.ttl_hours * 3600)
        platforms["platforms"]["kubernetes"]["pipelineConfig"] = {
            "resourceTtlOnCompletion": seconds
        }


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
        json_format.ParseDict(platforms, pipeline_spec_pb2.PlatformSpec())
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
    written_on: Mapping[str, str],
    cluster: KubeflowSettings,
    values: dict[str, Any],
    nodes: Mapping[str, list[str]],
    pods: Sequence[Pod],
    workers: Mapping[str, Any] | None,
    image: str,
) -> "BaseComponent":
    defaults = default_parameters(values)
    name, configuration = written_on["pipeline"], written_on["configuration"]
    shared = [
        *("--runs", f"{cluster.directory}/{name}/runs"),
        *("--metadata", cluster.metadata),
        *("--retries", str(cluster.retries)),
    ]

    @dsl.pipeline(name=name, description=f"Configuration {configuration}, image {image}.")
    def pipeline(
        data_path: str = defaults["data_path"],
        train_steps: int = defaults["train_steps"],
        seed: int = defaults["seed"],
        thresholds: dict[str, Any] = defaults["thresholds"],
        settings: dict[str, Any] = defaults["settings"],
    ) -> None:
        run = {"run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        parameters = {
            "data_path": data_path,
            "train_steps": train_steps,
            "seed": seed,
            "thresholds": thresholds,
            "settings": settings,
        }
        words = [
            *("--config", json.dumps(values, sort_keys=True)),
            *("--nodes", json.dumps(nodes)),
            *("--directory", cluster.directory),
            *shared,
            *_given([*run, *parameters]),
            *(f"--{NEWS}", {"outputPath": NEWS}),
        ]
        command = ["python", "-m", "kubeflow.prepare"]
        first = _task(PREPARE, image, command, words, run | parameters, {NEWS: "String"})
        configure(first, PREPARE, (PREPARE,), cluster, written_on)
        tasks: list[dsl.PipelineTask] = []
        for pod in pods:
            words = [word for node in pod.nodes for word in ("--node", node)]
            words += [*shared, *_given(run)]
            if workers and TRAINER in pod.nodes:
                words += ["--workers-job", json.dumps(workers, sort_keys=True)]
            outputs = outputs_of(pod.nodes)
            if outputs:
                words += ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
            if REPORT in outputs:
                words += ["--report", {"outputPath": REPORT}]
            inputs = run if pod.after else run | {NEWS: first.outputs[NEWS]}
            task = _task(
                pod.task, image, ["python", "-m", "kubeflow.node"], words, inputs, outputs
            ).after(*(tasks[place] for place in pod.after))
            configure(task, pod.name, pod.nodes, cluster, written_on)
            tasks.append(task)

    return pipeline


def _given(inputs: Iterable[str]) -> list[Any]:
    """The options that take the values of a task's inputs."""
    pairs = ((f"--{name.replace('_', '-')}", {"inputValue": name}) for name in inputs)
    return [word for pair in pairs for word in pair]


def _task(
    name: str,
    image: str,
    command: list[str],
    words: list[Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, str],
) -> dsl.PipelineTask:
    """Makes a task from the words of its command line, and what of them comes with the run."""
    component = {
        "name": name,
        "inputs": [{"name": one, "type": _INPUT_TYPES.get(one, "String")} for one in inputs],
        "outputs": [{"name": one, "type": kind} for one, kind in outputs.items()],
        "implementation": {"container": {"image": image, "command": command, "args": words}},
    }
    return components.load_component_from_text(yaml.safe_dump(component))(**inputs)
