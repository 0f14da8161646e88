"""The table `[beam]`: what is accepted, what Beam is told, and what is said of the rest."""

from __future__ import annotations

import socket

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from pipeline.config import BeamSettings, cluster_config, load_config, parse_config
from pipeline.definition import create_pipeline
from pipeline.local_runner import run_pipeline
from pipeline.runtime import ConfigError

VALUES = {"pipeline": {"name": "digits"}, "data": {"path": "data"}}


def options(**beam) -> PipelineOptions:
    return PipelineOptions(BeamSettings(**beam).arguments)


def test_in_process_is_the_default() -> None:
    found = options()
    assert found.view_as(StandardOptions).runner.endswith("fn_api_runner.FnApiRunner")
    assert found.view_as(WorkerOptions).sdk_container_image == "none"
    assert found.view_as(DirectOptions).direct_num_workers == 1
    threads = options(workers=3).view_as(DirectOptions)
    assert (threads.direct_num_workers, threads.direct_running_mode) == (3, "multi_threading")


def test_a_portable_runner_is_told_where_and_by_whom() -> None:
    found = options(runner="portable", endpoint="flink:8099")
    assert found.view_as(StandardOptions).runner == "PortableRunner"
    portable = found.view_as(PortableOptions)
    assert (portable.job_endpoint, portable.environment_type) == ("flink:8099", "LOOPBACK")
    pool = options(runner="portable", endpoint="flink:8099", worker_pool="[::1]:50000")
    portable = pool.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "[::1]:50000")


def test_the_pipeline_gets_them() -> None:
    beam = {"runner": "portable", "endpoint": "localhost:8099"}
    pipeline = create_pipeline(parse_config({**VALUES, "beam": beam}, "test"))
    assert pipeline.beam_pipeline_args == BeamSettings(**beam).arguments


@pytest.mark.parametrize(
    ("beam", "message"),
    [
        ({"runner": "portable"}, r'beam: runner = "portable" needs endpoint, .*"localhost:8099"'),
        ({"endpoint": "a:1"}, r'beam: endpoint has no effect with runner = "in_process"; remove'),
        ({"worker_pool": "a:1"}, r"beam: worker_pool has no effect"),
        ({"runner": "portable", "endpoint": "a:1", "workers": 2},
         r'beam: workers has no effect with runner = "portable"'),
        ({"runner": "portable", "endpoint": "http://a:1"},
         r"beam\.endpoint: is no address; write HOST:PORT .*found 'http://a:1'"),
        ({"runner": "portable", "endpoint": "8099"}, r"beam\.endpoint: is no address"),
        ({"runner": "portable", "endpoint": "a:0"}, r"beam\.endpoint: has no such port"),
        ({"runner": "portable", "endpoint": "a:65536"}, r"beam\.endpoint: has no such port"),
        ({"workers": 0}, r"beam\.workers: .*greater than or equal to 1"),
        ({"runner": "flink"}, r"beam\.runner: .*'in_process' or 'portable'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_before_anything_starts(beam: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({**VALUES, "beam": beam}, "test")


@pytest.mark.parametrize("missing", ["endpoint", "worker_pool"])
def test_nobody_answers(missing: str, tmp_path) -> None:
    """A run ends before its first node, and says which address and what to start."""
    with socket.create_server(("localhost", 0)) as closed:
        port = closed.getsockname()[1]
    with socket.create_server(("localhost", 0)) as server:
        open_port = server.getsockname()[1]
        beam = {"runner": "portable", "endpoint": f"localhost:{open_port}"}
        if missing == "worker_pool":
            BeamSettings(**beam).check_reachable()
        beam[missing] = f"localhost:{port}"
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "1.tfrecord").touch()
        values = {
            "pipeline": {"name": "digits", "directory": str(tmp_path)},
            "data": {"path": str(tmp_path / "data")},
            "beam": beam,
        }
        said = rf"beam\.{missing} = 'localhost:{port}' cannot be reached: .* Start the"
        with pytest.raises(ConfigError, match=said):
            run_pipeline(parse_config(values, "test"))
    assert not (tmp_path / "digits" / "artifacts").exists()


def test_in_a_cluster_workers_are_not_in_the_pod() -> None:
    beam = {"runner": "portable", "endpoint": "jobs:8099"}
    values = load_config("mnist-sample").model_dump(mode="json", exclude_unset=True)
    with pytest.raises(ConfigError, match=r"beam\.worker_pool is required in the cluster"):
        cluster_config(parse_config({**values, "beam": beam}, "test"))
    config = parse_config({**values, "beam": {**beam, "worker_pool": "pool:1"}}, "test")
    assert cluster_config(config).beam == config.beam
