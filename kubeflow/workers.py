"""The workers of a training in the cluster: a Job beside the pod of the Trainer.

The Trainer's pod is the first worker, the chief. The others are pods of an indexed Job, which any
Kubernetes has: no operator is needed, and none of Kubeflow's knows TensorFlow any more. They find
the chief in a folder on the volume (`modules/workers/meeting.py`), so there is no Service either.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from kubeflow.sharing import TRAINER
from pipeline.config import Config
from pipeline.runtime import ConfigError, NodeFailedError

if TYPE_CHECKING:
    import kubernetes

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KEPT_SECONDS = 3600  # pods and logs of a Job that has ended
_LOOK_EVERY = 5.0  # seconds; the Trainer asks more often than the cluster need be asked
_SECONDS_TO_GO = 120.0
_RIGHTS = "The service account of the run needs the rights of kubeflow/manifests/workers."


def workers_job(config: Config, image: str) -> dict[str, Any] | None:
    """The Job of the workers other than the chief, without what only a run knows.

    A worker gets what the Trainer gets: image, resources, accelerators, volume, place.

    Args:
        config: The configuration.
        image: Of `kubeflow/Dockerfile`, with its tag or digest.

    Returns:
        A manifest of `batch/v1`; None: training is on one machine.
    """
    if config.training.workers is None:
        return None
    settings = config.kubeflow
    own = settings.nodes.get(TRAINER)
    groups = [settings, *([own] if own else [])]
    memory = (own and own.memory) or settings.memory
    resources: dict[str, Any] = {
        "requests": {"cpu": (own and own.cpu) or settings.cpu, "memory": memory},
        "limits": {"memory": memory},
    }
    if settings.accelerators:
        resources["limits"][settings.accelerator] = str(settings.accelerators)
    env = {name: value for group in groups for name, value in group.env.items()}
    mounts, volumes = (
        [{"name": "scratch", "mountPath": "/tmp"}],
        [{"name": "scratch", "emptyDir": {}}],
    )
    if settings.claim:
        mounts.append({"name": "volume", "mountPath": settings.directory})
        claim = {"claimName": settings.claim}
        volumes.append({"name": "volume", "persistentVolumeClaim": claim})
    labels = {"triplet-pipeline": config.pipeline.name[:63].rstrip("-_"), "triplet-node": "Worker"}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "worker",
                "image": image,
                "command": ["python", "-m", "modules.trainer"],
                "env": [{"name": name, "value": env[name]} for name in sorted(env)],
                "resources": resources,
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
        "nodeSelector": {k: v for group in groups for k, v in group.node_selector.items()},
        "tolerations": [
            toleration.model_dump(exclude_none=True)
            for group in groups
            for toleration in group.tolerations
        ],
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    if settings.run_as_non_root:
        pod["securityContext"] = {"runAsNonRoot": True}
    # A mesh would stand between the workers; KFP keeps its own pods out of it likewise.
    annotations = {"sidecar.istio.io/inject": "false"}
    for group in groups:
        labels |= group.labels
        annotations |= group.annotations
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "backoffLimit": 0,  # a worker cannot come back alone; the Trainer starts all anew
            "activeDeadlineSeconds": settings.timeout_seconds(TRAINER),
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }


def check_workers(config: Config, values: Mapping[str, Any]) -> None:
    """Checks that the pod of the Trainer knows the Job, if it will need it.

    Args:
        config: Of a run, with its parameters.
        values: Of the configuration that was compiled.

    Raises:
        ConfigError: Only the parameters ask for several machines.
    """
    compiled = values.get("training", {}).get("workers")
    if config.training.workers is not None and compiled is None:
        raise ConfigError(
            "training.distribution = 'multi_worker' came with the parameters of the run, but the "
            "pipeline was compiled without workers: set it in the configuration, compile and "
            "deploy. Their number may be another one in each run."
        )


class JobStarter:
    """Starts the workers of the Trainer in this pod; see `modules.workers.use_starter`.

    Args:
        job: From `workers_job`.
        run_id: Of the run; a later try of it finds the Job of an earlier one.
        pod: Name of this pod.
        client: Of the cluster; default: by the service account of this pod.
        namespace: Of this pod; default: as the service account says.
    """

    def __init__(
        self,
        job: dict[str, Any],
        run_id: str,
        pod: str,
        client: kubernetes.client.ApiClient | None = None,
        namespace: str | None = None,
    ) -> None:
        self._job, self._run_id, self._pod = job, run_id, pod
        self._client, self._namespace = client, namespace

    def __call__(self, folder: str, numbers: range) -> StartedJob:
        """Makes the Job, in the place of one that an earlier try has left.

        Raises:
            NodeFailedError: The cluster does not allow it.
        """
        import kubernetes

        if self._client is None:
            kubernetes.config.load_incluster_config()
        namespace = self._namespace or (_ACCOUNT / "namespace").read_text().strip()
        jobs = kubernetes.client.BatchV1Api(self._client)
        try:
            pod = kubernetes.client.CoreV1Api(self._client).read_namespaced_pod(
                self._pod, namespace
            )
            name = f"workers-{hashlib.sha256(self._run_id.encode()).hexdigest()[:16]}"
            started = StartedJob(jobs, name, namespace)
            started.stop()
            jobs.create_namespaced_job(namespace, self._completed(name, folder, numbers, pod))
        except kubernetes.client.ApiException as error:
            advice = f" {_RIGHTS}" if error.status == 403 else ""
            raise NodeFailedError(
                f"The workers of the Trainer cannot be started: {error.reason} (HTTP "
                f"{error.status}).{advice}"
            ) from error
        return started

    def _completed(
        self, name: str, folder: str, numbers: Sequence[int], pod: kubernetes.client.V1Pod
    ) -> dict[str, Any]:
        template = self._job["spec"]["template"]
        (container,) = template["spec"]["containers"]
        specification = template["spec"] | {
            "serviceAccountName": pod.spec.service_account_name,
            "containers": [container | {"args": ["--folder", folder]}],
        }
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self._pod, "uid": pod.metadata.uid}
        return self._job | {
            # With the pod of the Trainer Kubernetes removes the Job too.
            "metadata": self._job["metadata"] | {"name": name, "ownerReferences": [owner]},
            "spec": self._job["spec"]
            | {
                "completions": len(numbers),
                "parallelism": len(numbers),
                "template": template | {"spec": specification},
            },
        }


class StartedJob:
    """The workers of a Job; see `modules.workers.Started`."""

    def __init__(self, jobs: kubernetes.client.BatchV1Api, name: str, namespace: str) -> None:
        self._jobs, self._name, self._namespace = jobs, name, namespace
        self._seen: kubernetes.client.V1JobStatus | None = None
        self._seen_at = -math.inf

    def lost(self) -> str | None:
        """What became of a worker that is gone."""
        status = self._status()
        if status is None:
            return f"The Job {self._name} of the workers was deleted."
        for condition in status.conditions or []:
            if condition.type == "Failed" and condition.status == "True":
                return (
                    f"A worker is gone ({condition.reason}: {condition.message}); see `kubectl "
                    f"logs -n {self._namespace} -l job-name={self._name}`."
                )
        return None

    def ended(self) -> bool:
        """Whether all of them have ended, and none is lost."""
        status = self._status()
        conditions = (status and status.conditions) or []
        return any(one.type == "Complete" and one.status == "True" for one in conditions)

    def stop(self) -> None:
        """Removes the Job with its pods, and waits until it is gone."""
        import kubernetes

        end = time.monotonic() + _SECONDS_TO_GO
        try:
            self._jobs.delete_namespaced_job(
                self._name, self._namespace, propagation_policy="Foreground"
            )
            while self._ask() is not None and time.monotonic() < end:
                time.sleep(_LOOK_EVERY / 10)
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
            if getattr(error, "status", None) != 404:
                logging.warning("The Job %s could not be removed: %s", self._name, error)

    def _status(self) -> kubernetes.client.V1JobStatus | None:
        """As it was a moment ago; None: there is no such Job."""
        import kubernetes

        if time.monotonic() - self._seen_at >= _LOOK_EVERY:
            try:
                self._seen = self._ask()
            except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
                # The training may go on all the same; if not, the chief will say so.
                logging.warning("The Job %s could not be looked at: %s", self._name, error)
            self._seen_at = time.monotonic()
        return self._seen

    def _ask(self) -> kubernetes.client.V1JobStatus | None:
        import kubernetes

        try:
            job = self._jobs.read_namespaced_job_status(self._name, self._namespace)
            return job.status or kubernetes.client.V1JobStatus()  # none yet
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None
            raise
