"""The table `[beam]`."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from modules.settings import Settings
from pipeline.runtime import ConfigError

# No container at all. Without a word on it TFX packs itself for the workers: two seconds and 52 MB
# in the folder of temporary files for each node, which nobody removes.
_NO_CONTAINER = "--sdk_container_image=none"
# Without the Go binary that plain DirectRunner would download.
_IN_PROCESS = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_JOB_SERVER = "--runner=pipeline.job_server.JobServerRunner"
_PATIENCE = 5.0  # seconds
_LOCAL = ("localhost", "127.0.0.1", "[::1]")

_SERVER_KEYS = {"endpoint", "artifact_endpoint", "worker_pool"}
# The keys that each runner takes, those that it needs, and what `workers` is called by Beam.
_KEYS = {
    "in_process": {"workers"},
    "portable": _SERVER_KEYS,
    "flink": _SERVER_KEYS | {"workers", "worker_processes", "flink_master"},
    "spark": _SERVER_KEYS | {"worker_processes"},
    "dataflow": {
        "workers", "project", "region", "temp_location", "image", "machine_type", "service_account"
    },
}  # fmt: skip
_NEEDED = {
    "portable": {"endpoint"},
    "flink": {"endpoint"},
    "spark": {"endpoint"},
    "dataflow": {"project", "region", "temp_location", "image"},
}
# What Beam calls a key. Parsers of apache_beam.options.pipeline_options; tests compare.
_FLINK = {
    "workers": "parallelism",
    "worker_processes": "sdk_worker_parallelism",
    "flink_master": "flink_master",
}
_DATAFLOW = {
    "project": "project",
    "region": "region",
    "temp_location": "temp_location",
    "image": "sdk_container_image",
    "workers": "max_num_workers",
    "machine_type": "worker_machine_type",
    "service_account": "service_account_email",
}


def _host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdigit():
        raise ValueError("is no address; write HOST:PORT without a scheme, as localhost:8099")
    if not 0 < int(port) < 1 << 16:
        raise ValueError("has no such port; a port is 1 to 65535")
    return address


def _is_local(address: str) -> bool:
    return address.rpartition(":")[0] in _LOCAL


Address = Annotated[str, AfterValidator(_host_and_port)]


class NodeBeam(Settings):
    """Where one node runs, in the place of what `[beam]` says; nothing is taken over from there."""

    runner: Annotated[
        Literal["in_process", "portable", "flink", "spark", "dataflow"],
        Field(description="in the node's process, or elsewhere"),
    ] = "in_process"
    workers: Annotated[
        int,
        Field(
            ge=1, le=4096,
            description="`in_process`: threads, at most 256; `flink`: parts that are worked on at "
            "once; `dataflow`: machines at most",
        ),
    ] = 1  # fmt: skip
    endpoint: Annotated[
        Address | None,
        Field(description="HOST:PORT of the job server; for `portable`, `flink`, `spark`"),
    ] = None
    artifact_endpoint: Annotated[
        Address | None,
        Field(
            description="HOST:PORT where the job server takes files, if it cannot be reached where "
            "it says itself, as Prism behind a Service; for `portable`, `flink`, `spark`"
        ),
    ] = None
    worker_pool: Annotated[
        Address | None,
        Field(
            description="HOST:PORT of a worker pool, which starts processes for the work, as the "
            "job server (of Flink and Spark: each of their workers) reaches it; without it the "
            "node's own process does it; for `portable`, `flink`, `spark`"
        ),
    ] = None
    worker_processes: Annotated[
        int | None,
        Field(ge=1, le=256, description="of a pool for one job; default: 1; for `flink`, `spark`"),
    ] = None
    flink_master: Annotated[
        Address | None,
        Field(
            description="HOST:PORT of Flink's REST interface; default: the one that its job server "
            "was started with"
        ),
    ] = None
    project: Annotated[
        str | None, Field(min_length=1, description="of Google Cloud; for `dataflow`")
    ] = None
    region: Annotated[
        str | None,
        Field(pattern=r"^[a-z]+-[a-z]+\d+$", description="as `europe-west1`; for `dataflow`"),
    ] = None
    temp_location: Annotated[
        str | None,
        Field(pattern=r"^gs://[^/]+/.+[^/]$", description="gs://BUCKET/FOLDER; for `dataflow`"),
    ] = None
    image: Annotated[
        str | None,
        Field(
            min_length=1,
            description="built with `--target beam`, which workers start; for `dataflow`",
        ),
    ] = None
    machine_type: Annotated[
        str | None, Field(min_length=1, description="as `n2-highmem-4`; for `dataflow`")
    ] = None
    service_account: Annotated[
        str | None,
        Field(pattern=r"^[^@\s]+@[^@\s]+$", description="e-mail of the workers'; for `dataflow`"),
    ] = None

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> NodeBeam:
        examples = {
            "endpoint": 'the address of a job server, such as "localhost:8099"',
            "project": 'the project of Google Cloud, such as "shop-vision"',
            "region": 'the region of Google Cloud, such as "europe-west1"',
            "temp_location": 'a folder for temporary files, such as "gs://bucket/tmp"',
            "image": "the image of the workers, of kubeflow/Dockerfile with --target beam",
        }
        for key in sorted(_NEEDED.get(self.runner, ())):
            if getattr(self, key) is None:
                raise ValueError(f'runner = "{self.runner}" needs {key}, {examples[key]}')
        if unused := sorted(self.model_fields_set - _KEYS[self.runner] - {"runner", "nodes"}):
            raise ValueError(
                f'{", ".join(unused)} has no effect with runner = "{self.runner}"; remove it'
            )
        if self.runner == "in_process" and self.workers > 256:
            raise ValueError("workers are threads of one process, at most 256")
        if self.worker_processes and not self.worker_pool:
            raise ValueError("worker_processes has no effect without worker_pool; remove it")
        if self.endpoint and not self.worker_pool and not _is_local(self.endpoint):
            raise ValueError(
                f"worker_pool is required with the job server {self.endpoint} on another machine, "
                "which cannot reach into the process of the node. Name a pool that it can reach, "
                "or start a job server here and write localhost"
            )
        return self

    @property
    def arguments(self) -> list[str]:
        """The options of Apache Beam."""
        if self.runner == "in_process":
            threads = [f"--direct_num_workers={self.workers}"]
            threads.append("--direct_running_mode=multi_threading")
            return [_IN_PROCESS, _NO_CONTAINER, *(threads if self.workers > 1 else [])]
        if self.runner == "dataflow":
            return ["--runner=DataflowRunner", *self._options(_DATAFLOW)]
        return [
            _JOB_SERVER,
            f"--job_endpoint={self.endpoint}",
            *([f"--artifact_endpoint={self.artifact_endpoint}"] if self.artifact_endpoint else []),
            f"--environment_type={'EXTERNAL' if self.worker_pool else 'LOOPBACK'}",
            *([f"--environment_config={self.worker_pool}"] if self.worker_pool else []),
            *self._options(_FLINK),
            _NO_CONTAINER,
        ]

    def _options(self, names: dict[str, str]) -> list[str]:
        given = [key for key in names if key in self.model_fields_set]
        return [f"--{names[key]}={getattr(self, key)}" for key in given]

    def check_cluster(self, directory: str) -> None:
        """Checks what only pods of Kubeflow are subject to.

        Args:
            directory: `[kubeflow] directory`.

        Raises:
            ConfigError: Beam's workers would be in the pod, or see no file.
        """
        if self.endpoint and self.worker_pool is None:
            raise ConfigError(
                f'beam.worker_pool is required in the cluster with runner = "{self.runner}": '
                "without it the job server would have to reach into the pod of the node. Name a "
                'worker pool, or set runner = "in_process".'
            )
        if self.runner == "dataflow" and not directory.startswith("gs://"):
            raise ConfigError(
                f"kubeflow.directory = {directory!r} cannot be seen by the workers of Dataflow, "
                "which mount no volume. Set it to gs://BUCKET/FOLDER, or set beam.runner to "
                "another one."
            )

    def check_reachable(self) -> None:
        """Connects to what the table names, since Beam would wait for minutes.

        Raises:
            ConfigError: Nobody answers, or the workers would not see the files of this machine.
        """
        if self.runner == "dataflow":
            raise ConfigError(
                'beam.runner = "dataflow" has no effect on files of this machine, which its '
                "workers cannot see. Run the pipeline on Kubeflow with [kubeflow] directory = "
                '"gs://BUCKET/FOLDER", or set runner = "in_process".'
            )
        started_by = {
            "endpoint": "Start the job server, for example `prism -job_port 8099`",
            "worker_pool": "Start the pool, by `python -m apache_beam.runners.worker."
            "worker_pool_main --service_port PORT` with the project in PYTHONPATH",
        }
        # Workers of Flink and Spark have a pool each, at an address of theirs.
        here = self.runner == "portable" and self.endpoint and _is_local(self.endpoint)
        for key, start in started_by.items():
            address = getattr(self, key)
            if address is None or (key == "worker_pool" and not here):
                continue
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
            except OSError as error:
                raise ConfigError(
                    f"beam.{key} = {address!r} cannot be reached: {error}. {start}, or set "
                    'runner = "in_process".'
                ) from error


class BeamSettings(NodeBeam):
    """`[beam]`: where the nodes that go over all the data run.

    `in_process` needs nothing else. `portable`, `flink` and `spark` send the work to a job server
    of Apache Beam, `dataflow` to Google's service; see docs/beam.md, which also says what was run
    and what was not. The results are the same on each.
    """

    nodes: dict[str, NodeBeam] = Field({}, description="by id of the node")

    def of(self, node: str) -> NodeBeam:
        """What holds for a node."""
        return self.nodes.get(node, self)

    def check_nodes(self, known: Iterable[str]) -> None:
        """Checks the names of `[beam.nodes]`.

        Args:
            known: Ids of the nodes of the pipeline that use Beam.

        Raises:
            ConfigError: There is no such node, or Beam has nothing to do with it.
        """
        known = sorted(known)
        if unknown := sorted(set(self.nodes) - set(known)):
            raise ConfigError(
                f"beam.nodes.{unknown[0]}: there is no such node of Beam; there are "
                f"{', '.join(known)}"
            )

    def check_cluster(self, directory: str) -> None:
        """As for a node, and for each that has a table of its own."""
        super().check_cluster(directory)
        for one in self.nodes.values():
            one.check_cluster(directory)

    def check_reachable(self) -> None:
        """As for a node, and for each that has a table of its own."""
        super().check_reachable()
        for one in self.nodes.values():
            one.check_reachable()
