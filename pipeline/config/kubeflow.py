"""The table of the configuration about Kubeflow Pipelines."""

from __future__ import annotations

import re
import urllib.parse
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from modules.settings import Settings

Cpu = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?|\d+m)$", description="cores")]
Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGT]i?)?$", description="bytes, as 4Gi")]


Hours = Annotated[float, Field(gt=0, le=720)]
# Of the label part of Kubernetes' qualified names; a prefix with a slash may stand before it.
_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRAINER_HOURS = 24.0
_OURS = ("METADATA_USERNAME", "METADATA_PASSWORD")  # filled from `metadata_secret`


class Toleration(Settings):
    """A taint of machines that a pod may run on nevertheless, in the words of Kubernetes."""

    key: Annotated[str | None, Field(description="of the taint; default: every one")] = None
    operator: Annotated[Literal["Equal", "Exists"], Field(description="how it must match")] = (
        "Exists"
    )
    value: Annotated[str | None, Field(description="of the taint, with `Equal`")] = None
    effect: Annotated[
        Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None,
        Field(description="of the taint; default: every one"),
    ] = None

    @model_validator(mode="after")
    def _value_is_used(self) -> Toleration:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError('value belongs to operator = "Equal": give both or neither')
        if self.key is None and self.operator == "Equal":
            raise ValueError('operator = "Equal" needs a key')
        return self


class PodSettings(Settings):
    """What the pods of all nodes have, and what a node's own table can add to or replace."""

    node_selector: dict[str, str] = Field({}, description="labels of the machines to run on")
    tolerations: list[Toleration] = Field([], description="taints of the machines to run on")
    env: dict[str, str] = Field({}, description="environment variables; no secrets")
    labels: dict[str, str] = Field({}, description="of the pods")
    annotations: dict[str, str] = Field({}, description="of the pods")

    @field_validator("node_selector", "labels")
    @classmethod
    def _are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name, value in labels.items():
            if not _NAME.fullmatch(name) or not _LABEL.fullmatch(value):
                raise ValueError(
                    f"{name!r} = {value!r} is no label of Kubernetes: letters, digits, '-', '_', "
                    "'.', at most 63; in the name a domain and '/' may stand before"
                )
        return labels

    @field_validator("annotations")
    @classmethod
    def _are_annotations(cls, annotations: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in annotations if not _NAME.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no name of an annotation of Kubernetes")
        return annotations

    @field_validator("env")
    @classmethod
    def _are_variables(cls, env: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in env if not _VARIABLE.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no name of an environment variable")
        if taken := [name for name in env if name in _OURS]:
            raise ValueError(f"{taken[0]} comes from the Secret that `metadata_secret` names")
        return env


class NodeResources(PodSettings):
    """What one node asks of the cluster where it differs from the others."""

    cpu: Annotated[Cpu | None, Field(description="cores; default: that of all nodes")] = None
    memory: Annotated[Memory | None, Field(description="as 4Gi; default: that of all nodes")] = None
    timeout_hours: Annotated[
        Hours | None, Field(description="of each try; default: 24 for Trainer, else as all nodes")
    ] = None


class KubeflowSettings(PodSettings):
    """`[kubeflow]`: how the nodes run as pods of Kubeflow Pipelines; local runs ignore it.

    In the cluster `directory` takes the place of the project folder and of `[pipeline] directory`:
    relative paths in this file start there.
    """

    directory: Annotated[
        str,
        Field(pattern=r"^(/[^/]|gs://).*[^/]$", description="where data, artifacts and models are"),
    ] = "/mnt/triplet"
    volume: Annotated[
        str | None,
        Field(description="ReadWriteMany claim at `directory`; default: triplet, none for gs://"),
    ] = None
    metadata: Annotated[
        str, Field(description="mysql://, postgresql:// or grpc://, HOST[:PORT][/DATABASE]")
    ] = "postgresql://triplet-metadata:5432/triplet"
    metadata_secret: Annotated[
        str | None, Field(description="Secret with the keys `username` and `password`")
    ] = "triplet-metadata"
    retries: Annotated[
        int, Field(ge=0, le=10, description="of a failed pod; in it, of a lost database or file")
    ] = 2
    timeout_hours: Annotated[
        Hours, Field(description="after which a pod is ended; each try has so many")
    ] = 6
    share_pods: Annotated[
        bool,
        Field(description="nodes that only wait for one another are one pod; else one for each"),
    ] = True
    ttl_hours: Annotated[
        Hours | None,
        Field(description="for which an ended run keeps pods and logs; needs KFP 2.17.3"),
    ] = None
    run_as_non_root: Annotated[
        bool, Field(description="say so in the pods, as namespaces that are `restricted` demand")
    ] = True
    image_pull_secrets: list[str] = Field([], description="Secrets for the registry of the image")
    cpu: Cpu = "1"
    memory: Memory = "4Gi"
    nodes: dict[str, NodeResources] = Field({}, description="by id of the node")
    accelerator: Annotated[str, Field(min_length=1, description="resource name")] = "nvidia.com/gpu"
    accelerators: Annotated[int, Field(ge=0, le=16, description="of the Trainer")] = 0

    def timeout_seconds(self, node: str) -> int:
        """After how many seconds a try of a node is ended."""
        own = self.nodes.get(node)
        least = _TRAINER_HOURS if node == "Trainer" else 0.0
        hours = (own and own.timeout_hours) or max(self.timeout_hours, least)
        return round(hours * 3600)

    @property
    def claim(self) -> str | None:
        """The volume claim that every pod mounts at `directory`."""
        return None if self.directory.startswith("gs://") else self.volume or "triplet"

    @model_validator(mode="after")
    def _storage_and_metadata_fit(self) -> KubeflowSettings:
        if self.directory.startswith("gs://") and self.volume:
            raise ValueError("volume has no effect with a gs:// directory; remove it")
        url = urllib.parse.urlsplit(self.metadata)
        if url.scheme not in ("mysql", "postgresql", "grpc") or not url.hostname:
            raise ValueError(
                f"metadata is {self.metadata!r}, expected mysql://HOST[:PORT]/DATABASE, "
                "postgresql://HOST[:PORT]/DATABASE or grpc://HOST[:PORT]"
            )
        if url.username or url.password:
            raise ValueError(
                "metadata must not hold a user or a password; put them into the Secret that "
                "`metadata_secret` names"
            )
        if (url.scheme == "grpc") == bool(url.path.strip("/")):
            raise ValueError("metadata needs a /DATABASE with mysql and postgresql, none with grpc")
        return self
