"""The table of the configuration about Kubeflow Pipelines."""

from __future__ import annotations

import urllib.parse
from typing import Annotated

from pydantic import Field, model_validator

from modules.settings import Settings

Cpu = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?|\d+m)$", description="cores")]
Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGT]i?)?$", description="bytes, as 4Gi")]


class NodeResources(Settings):
    """What one node asks of the cluster where it differs from the others."""

    cpu: Annotated[Cpu | None, Field(description="cores; default: that of all nodes")] = None
    memory: Annotated[Memory | None, Field(description="as 4Gi; default: that of all nodes")] = None


class KubeflowSettings(Settings):
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
    retries: Annotated[int, Field(ge=0, le=10, description="of a failed pod")] = 2
    cpu: Cpu = "1"
    memory: Memory = "4Gi"
    nodes: dict[str, NodeResources] = Field({}, description="by id of the node")
    accelerator: Annotated[str, Field(min_length=1, description="resource name")] = "nvidia.com/gpu"
    accelerators: Annotated[int, Field(ge=0, le=16, description="of the Trainer")] = 0

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
