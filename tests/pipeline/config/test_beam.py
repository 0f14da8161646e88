"""The table `[beam]`: what is accepted, what Beam is told, and what is said of the rest."""

from __future__ import annotations

import argparse
import socket

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.internal import apiclient
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.triplet_gen.transforms import make_triplets
from modules.settings import TripletSettings
from pipeline.beam_options import where_beam_runs
from pipeline.config import BeamSettings, cluster_config, load_config, parse_config
from pipeline.definition import create_pipeline
from pipeline.local_runner import run_pipeline
from pipeline.runtime import ConfigError

FLINK = {"runner": "flink", "endpoint": "flink:8099", "worker_pool": "localhost:50000"}
SPARK = {"runner": "spark", "endpoint": "spark:8099", "worker_pool": "[::1]:50000"}
DATAFLOW = {
    "runner": "dataflow",
    "project": "shop-vision",
    "region": "europe-west1",
    "temp_location": "gs://bucket/tmp",
    "image": "registry/triplet:1-beam",
}
# With every key that the runner takes.
BEAMS = [
    {"runner": "in_process", "workers": 3},
    {"runner": "portable", "endpoint": "a:1", "artifact_endpoint": "a:2", "worker_pool": "a:3"},
    {**FLINK, "artifact_endpoint": "a:2", "workers": 3, "worker_processes": 2,
     "flink_master": "a:4"},
    {**SPARK, "artifact_endpoint": "a:2", "worker_processes": 2},
    {**DATAFLOW, "workers": 3, "machine_type": "n2-highmem-4", "service_account": "a@b.c"},
]  # fmt: skip
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


def test_a_job_server_is_told_where_and_by_whom() -> None:
    found = options(runner="portable", endpoint="localhost:8099")
    assert found.view_as(StandardOptions).runner == "pipeline.job_server.JobServerRunner"
    portable = found.view_as(PortableOptions)
    assert (portable.job_endpoint, portable.environment_type) == ("localhost:8099", "LOOPBACK")
    pool = options(**SPARK, artifact_endpoint="spark:8098", worker_processes=3)
    portable = pool.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "[::1]:50000")
    assert (portable.artifact_endpoint, portable.sdk_worker_parallelism) == ("spark:8098", "3")
    assert pool.view_as(WorkerOptions).sdk_container_image == "none"
    flink = options(**FLINK, workers=12, flink_master="flink-rest:8081")
    told = flink.view_as(FlinkRunnerOptions)
    assert (told.parallelism, told.flink_master) == (12, "flink-rest:8081")


def test_dataflow_is_told_what_it_asks_for() -> None:
    beam = {**DATAFLOW, "workers": 40, "machine_type": "n2-highmem-4", "service_account": "a@b.c"}
    found = options(**beam)
    cloud, workers = found.view_as(GoogleCloudOptions), found.view_as(WorkerOptions)
    assert found.view_as(StandardOptions).runner == "DataflowRunner"
    assert (cloud.project, cloud.region) == ("shop-vision", "europe-west1")
    assert (cloud.temp_location, cloud.service_account_email) == ("gs://bucket/tmp", "a@b.c")
    assert (workers.max_num_workers, workers.machine_type) == (40, "n2-highmem-4")
    assert workers.sdk_container_image == "registry/triplet:1-beam"


@pytest.mark.parametrize("beam", BEAMS, ids=lambda beam: beam["runner"])
def test_beam_knows_every_option(beam: dict) -> None:
    """Beam drops what none of its parsers takes, with a line in the log."""
    arguments = BeamSettings(**beam).arguments
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for kind in PipelineOptions.__subclasses__():
        if kind.__module__.startswith("apache_beam.options."):
            kind._add_argparse_args(parser)
    assert parser.parse_known_args(arguments)[1] == []


def test_dataflow_takes_a_graph_of_ours() -> None:
    """The job that would be sent: Beam's own checks, the image, the size. Nothing is sent."""
    beam_options = options(**DATAFLOW, workers=7)
    cloud = beam_options.view_as(GoogleCloudOptions)
    cloud.no_auth = beam_options.view_as(TestOptions).dry_run = True
    settings = TripletSettings()
    pipeline = beam.Pipeline(options=beam_options)
    assert not PipelineOptionsValidator(beam_options, pipeline.runner).validate()
    make_triplets(pipeline, ["gs://b/1"], [], settings, {"train": "gs://b/out"}, "gs://b/tmp")
    graph = pipeline.run().job.proto_pipeline
    sent = apiclient.Environment([], beam_options, "8", "gs://b/graph", graph)
    (pool,) = sent.proto.worker_pools
    assert pool.autoscaling_settings.max_num_workers == 7
    images = {one.container_image for one in pool.sdk_harness_container_images}
    assert images == {"registry/triplet:1-beam"}
    assert sent.proto.temp_storage_prefix == "storage.googleapis.com/bucket/tmp"
    assert any("WriteTriplets" in name for name in graph.components.transforms)


def test_the_nodes_get_them() -> None:
    """Each node of Beam its own, and no other node any."""
    own = {"runner": "in_process", "workers": 2}
    beam = {**FLINK, "nodes": {"Evaluator": own}}
    pipeline = create_pipeline(parse_config({**VALUES, "beam": beam}, "test"))
    told = {
        node.id: node.executor_spec.beam_pipeline_args
        for node in pipeline.components
        if isinstance(getattr(node, "executor_spec", None), BeamExecutorSpec)
    }
    assert set(told) == {
        "ImportExampleGen", "StatisticsGen", "DataAudit", "Transform", "TripletGen", "Evaluator",
        "ReportGen", "IndexGen",
    }  # fmt: skip
    assert told.pop("Evaluator") == BeamSettings(**own).arguments
    assert all(arguments == BeamSettings(**FLINK).arguments for arguments in told.values())
    assert not pipeline.beam_pipeline_args
    for name in ("Trainer", "Evaluater"):
        settings = BeamSettings(nodes={name: own})
        said = rf"beam\.nodes\.{name}: there is no such node of Beam; there are DataAudit, Eval"
        with pytest.raises(ConfigError, match=said):
            where_beam_runs(settings, pipeline.components)


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
        ({"runner": "samza"}, r"beam\.runner: .*'in_process', 'portable', 'flink', 'spark' or"),
        ({"runner": "flink"}, r'beam: runner = "flink" needs endpoint, the address of a job'),
        ({"runner": "flink", "endpoint": "flink:8099"},
         r"beam: worker_pool is required with the job server flink:8099 on another machine"),
        ({"runner": "spark", "endpoint": "localhost:1", "workers": 2}, r"workers has no effect"),
        ({"runner": "spark", "endpoint": "localhost:1", "worker_processes": 2},
         r"beam: worker_processes has no effect without worker_pool"),
        ({**SPARK, "flink_master": "a:1"}, r"flink_master has no effect with runner = .spark"),
        ({**DATAFLOW, "endpoint": "a:1"}, r"endpoint has no effect with runner = .dataflow"),
        ({**DATAFLOW, "temp_location": "/tmp/x"}, r"beam\.temp_location: .*gs://"),
        ({**DATAFLOW, "region": "Europe"}, r"beam\.region: "),
        ({key: DATAFLOW[key] for key in DATAFLOW if key != "image"},
         r'beam: runner = "dataflow" needs image, the image of the workers'),
        ({"nodes": {"Evaluator": {"runner": "flink"}}},
         r'beam\.nodes\.Evaluator: runner = "flink" needs endpoint'),
        ({"workers": 257}, r"beam: workers are threads of one process, at most 256"),
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


def in_cluster(beam: dict, directory: str = "/mnt/triplet") -> BeamSettings:
    values = load_config("mnist-sample").model_dump(mode="json", exclude_unset=True)
    values |= {"beam": beam, "kubeflow": {"directory": directory}}
    return cluster_config(parse_config(values, "test")).beam


def test_in_a_cluster_workers_are_not_in_the_pod() -> None:
    beam = {"runner": "portable", "endpoint": "localhost:8099"}
    with pytest.raises(ConfigError, match=r"beam\.worker_pool is required in the cluster"):
        in_cluster(beam)
    with pytest.raises(ConfigError, match=r"beam\.worker_pool is required in the cluster"):
        in_cluster({"nodes": {"Evaluator": beam}})
    for one in (FLINK, SPARK):
        assert in_cluster(one) == BeamSettings(**one)


def test_dataflow_needs_files_in_its_cloud(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"kubeflow\.directory = '/mnt/triplet' cannot be seen"):
        in_cluster(DATAFLOW)
    assert in_cluster(DATAFLOW, "gs://bucket/triplet") == BeamSettings(**DATAFLOW)
    with pytest.raises(ConfigError, match=r'"dataflow" has no effect on files of this machine'):
        BeamSettings(**DATAFLOW).check_reachable()


def test_the_pool_of_a_cluster_is_not_ours_to_call() -> None:
    """`localhost` is there the pod of a task manager."""
    with socket.create_server(("localhost", 0)) as server:
        endpoint = f"localhost:{server.getsockname()[1]}"
        BeamSettings(runner="flink", endpoint=endpoint, worker_pool="localhost:9").check_reachable()
