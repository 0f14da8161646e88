"""The table `[beam]`."""

from __future__ import annotations

import socket
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from modules.settings import Settings
from pipeline.runtime import ConfigError

# No container at all. Without a word on it TFX packs itself for the workers: two seconds and 52 MB
# in the folder of temporary files for each node, which nobody removes.
_NO_CONTAINER = "--sdk_container_image=none"
_PATIENCE = 5.0  # seconds


def _host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdigit():
        raise ValueError("is no address; write HOST:PORT without a scheme, as localhost:8099")
    if not 0 < int(port) < 1 << 16:
        raise ValueError("has no such port; a port is 1 to 65535")
    return address


Address = Annotated[str, AfterValidator(_host_and_port)]


class BeamSettings(Settings):
    """`[beam]`: where the nodes that go over all the data run.

    `in_process` needs nothing else. `portable` sends the work to a job server of Apache Beam, see
    docs/beam.md. The results are the same on each.
    """

    runner: Annotated[
        Literal["in_process", "portable"], Field(description="in the node's process, or elsewhere")
    ] = "in_process"
    workers: Annotated[
        int, Field(ge=1, le=256, description="threads of the runner `in_process`")
    ] = 1
    endpoint: Annotated[
        Address | None, Field(description="HOST:PORT of the job server; for `portable`")
    ] = None
    worker_pool: Annotated[
        Address | None,
        Field(
            description="HOST:PORT of a worker pool, which starts a process for the work; without "
            "it the node's own process does it; for `portable`"
        ),
    ] = None

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> BeamSettings:
        portable = self.runner == "portable"
        if portable and self.endpoint is None:
            raise ValueError(
                'runner = "portable" needs endpoint, the address of a job server, such as '
                '"localhost:8099"'
            )
        without = {"workers"} if portable else {"endpoint", "worker_pool"}
        if unused := sorted(without & self.model_fields_set):
            raise ValueError(
                f'{", ".join(unused)} has no effect with runner = "{self.runner}"; remove it'
            )
        return self

    @property
    def arguments(self) -> list[str]:
        """The options of Apache Beam."""
        if self.runner == "portable":
            return [
                "--runner=PortableRunner",
                f"--job_endpoint={self.endpoint}",
                f"--environment_type={'EXTERNAL' if self.worker_pool else 'LOOPBACK'}",
                *([f"--environment_config={self.worker_pool}"] if self.worker_pool else []),
                _NO_CONTAINER,
            ]
        threads = [f"--direct_num_workers={self.workers}", "--direct_running_mode=multi_threading"]
        return [
            # Without the Go binary that plain DirectRunner would download.
            "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
            _NO_CONTAINER,
            *(threads if self.workers > 1 else []),
        ]

    def check_reachable(self) -> None:
        """Connects to what the table names, since Beam would wait for minutes.

        Raises:
            ConfigError: Nobody answers.
        """
        started_by = {
            "endpoint": "Start the job server, for example `prism -job_port 8099`",
            "worker_pool": "Start the pool, by `python -m apache_beam.runners.worker."
            "worker_pool_main --service_port PORT` with the project in PYTHONPATH",
        }
        for key, start in started_by.items():
            address = getattr(self, key)
            if address is None:
                continue
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
            except OSError as error:
                raise ConfigError(
                    f"beam.{key} = {address!r} cannot be reached: {error}. {start}, or set "
                    'runner = "in_process".'
                ) from error
