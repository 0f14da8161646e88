"""What the configuration says of a pod: resources, time, place, volume, secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kfp import dsl, kubernetes

from kubeflow.retrying import FACTOR, WAIT
from kubeflow.sharing import TRAINER
from pipeline.config import KubeflowSettings, NodeResources, PodSettings
from pipeline.metadata import PASSWORD, USERNAME

_LABEL_LENGTH = 63  # at most, says Kubernetes


def configure(
    task: dsl.PipelineTask,
    name: str,
    nodes: Sequence[str],
    settings: KubeflowSettings,
    written_on: Mapping[str, str],
) -> None:
    """Gives a task all that its pod needs.

    Args:
        task: Is changed.
        name: As Kubeflow shows it, without spaces: it is part of addresses.
        nodes: What the pod runs; at most one of them has a table of its own.
        settings: `[kubeflow]`.
        written_on: Label and annotation of every pod: `pipeline` and `configuration`.
    """
    own = next((settings.nodes[node] for node in nodes if node in settings.nodes), None)
    memory = (own and own.memory) or settings.memory
    task.set_display_name(name)
    task.set_caching_options(False)
    task.set_cpu_request((own and own.cpu) or settings.cpu)
    # A limit too: a pod that outgrows it fails alone instead of taking its neighbours along.
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    if TRAINER in nodes and settings.accelerators:
        task.set_accelerator_type(settings.accelerator)
        task.set_accelerator_limit(settings.accelerators)
    if settings.retries:
        task.set_retry(settings.retries, backoff_duration=f"{WAIT}s", backoff_factor=FACTOR)
    kubernetes.set_timeout(task, _seconds(settings, nodes))
    if settings.run_as_non_root:
        kubernetes.set_security_context(task, run_as_non_root=True)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, settings.image_pull_secrets)
    marks = PodSettings(
        labels={
            "triplet-pipeline": written_on["pipeline"][:_LABEL_LENGTH].rstrip("-_"),
            "triplet-node": nodes[0] if len(nodes) == 1 else task.name[:_LABEL_LENGTH].rstrip("-"),
        },
        annotations={
            "triplet-nodes": ",".join(nodes),
            "triplet-configuration": written_on["configuration"],
        },
    )
    for pods in (marks, settings, own or NodeResources()):
        _place(task, pods)
    if settings.claim:
        kubernetes.mount_pvc(task, pvc_name=settings.claim, mount_path=settings.directory)
    # The image works with a read-only root file system; this is its scratch space.
    kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/tmp")
    if settings.metadata_secret and not settings.metadata.startswith("grpc"):
        kubernetes.use_secret_as_env(
            task, settings.metadata_secret, {"username": USERNAME, "password": PASSWORD}
        )


def longest_seconds(settings: KubeflowSettings, nodes: Sequence[str]) -> int:
    """What all tries of a pod may take, with the waits between them."""
    waits = WAIT * (FACTOR**settings.retries - 1)
    return _seconds(settings, nodes) * (settings.retries + 1) + waits


def _seconds(settings: KubeflowSettings, nodes: Sequence[str]) -> int:
    return max(settings.timeout_seconds(node) for node in nodes)


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
