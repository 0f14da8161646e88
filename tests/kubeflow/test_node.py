"""Single nodes by their entrypoint on real databases: first run, cached, retried, two at once."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as proto

from components.image_example_gen import executor
from kubeflow import node, retrying
from kubeflow.ir import compile_ir, dag, for_run
from kubeflow.metadata_handle import ClusterMetadata
from modules.training.checkpoints import checkpoint_folder
from pipeline.config import parse_config
from pipeline.config.paths import PROJECT
from pipeline.launch import launch_node
from pipeline.metadata import connect_store, find_execution
from pipeline.runtime import NodeFailedError
from tests import metadata_server
from tests.real_data import digits

EXAMPLE_GEN, SCHEMA_GEN = "ImageExampleGen", "ImportSchemaGen"


on_one_database = pytest.mark.parametrize("metadata_url", ["postgresql"], indirect=True)


class Cluster:
    """A folder that stands for the volume, a database, and a pipeline of its own."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.name = f"digits-{uuid.uuid4().hex[:8]}"
        self.store = connect_store(url)
        config = parse_config(
            {
                "pipeline": {"name": self.name, "directory": str(directory)},
                "data": {"path": str(directory / "photos"), "format": "images", "split": "hash"},
            },
            "the test",
        )
        self.ir = compile_ir(config)

    def photos(self, count: int) -> None:
        for image, label, name in digits(count):
            path = self.directory / "photos" / label.decode() / f"{name.decode()[-4:]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)

    def run(self, node: str, run_id: str) -> str:
        ir = for_run(self.ir, run_id)
        return launch_node(ir, node, ClusterMetadata(self.url)).outcome

    def arguments(self, node: str, run_id: str) -> list[str]:
        """Those of `python -m kubeflow.node`, after the pipeline is put where it looks."""
        runs = self.directory / "runs"
        runs.mkdir(exist_ok=True)
        (runs / f"{run_id}.pb").write_bytes(for_run(self.ir, run_id).SerializeToString())
        return [
            "--runs", str(runs), "--run-id", run_id, "--node", node, "--metadata", self.url,
        ]  # fmt: skip

    def executions(self, node: str, run_id: str) -> list[proto.Execution]:
        run = self.store.get_context_by_type_and_name("pipeline_run", run_id)
        return [
            execution
            for execution in self.store.get_executions_by_context(run.id)
            if f"{self.name}.{node}"
            in {c.name for c in self.store.get_contexts_by_execution(execution.id)}
        ]

    def outputs(self, execution: proto.Execution) -> list[str]:
        events = self.store.get_events_by_execution_ids([execution.id])
        ids = [e.artifact_id for e in events if e.type == proto.Event.OUTPUT]
        return [artifact.uri for artifact in self.store.get_artifacts_by_id(ids)]


@pytest.fixture(scope="module")
def cluster(metadata_url, tmp_path_factory) -> Cluster:
    cluster = Cluster(tmp_path_factory.mktemp("volume"), metadata_url)
    cluster.photos(6)
    return cluster


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch) -> None:
    monkeypatch.setenv(node.RUN_ID, "")  # pods set it for their process


def new_run() -> str:
    return str(uuid.uuid4())


def test_first_run_executes_the_second_is_cached_and_new_data_is_seen(cluster: Cluster) -> None:
    first, second, third = new_run(), new_run(), new_run()
    assert cluster.run(EXAMPLE_GEN, first) == "executed"
    assert cluster.run(SCHEMA_GEN, first) == "executed"
    assert cluster.run(EXAMPLE_GEN, second) == "cached"
    assert cluster.run(SCHEMA_GEN, second) == "cached"
    (one,), (two,) = cluster.executions(EXAMPLE_GEN, first), cluster.executions(EXAMPLE_GEN, second)
    assert cluster.outputs(one) == cluster.outputs(two)
    cluster.photos(7)
    # The driver of ExampleGen computes the fingerprint anew: the cache does not hide the images.
    assert cluster.run(EXAMPLE_GEN, third) == "executed"


@pytest.fixture
def pod(monkeypatch, tmp_path):
    """The entrypoint in this process; returns its exit code and what it printed and left."""
    waits: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", waits.append)
    monkeypatch.setattr(node.signal, "signal", lambda *_: None)
    monkeypatch.setattr(node, "_TERMINATION_LOG", tmp_path / "termination-log")
    (tmp_path / "termination-log").touch()

    def run(arguments: list[str], *further: str) -> tuple[int, str, list[float], str]:
        nodes = [word for name in further for word in ("--node", name)]
        done = CliRunner().invoke(node.main, [*arguments, *nodes, "--retries", "2"])
        left = (tmp_path / "termination-log").read_text()
        return done.exit_code, done.stdout, waits, left

    before = os.umask(0o022)
    yield run
    os.umask(before)


@on_one_database
def test_a_pod_runs_several_nodes_and_tries_again_what_passes(cluster, pod, monkeypatch) -> None:
    cluster.photos(8)
    run_id = new_run()
    do, calls = executor.Executor.Do, []

    def hanging(self, *arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return do(self, *arguments)

    monkeypatch.setattr(executor.Executor, "Do", hanging)
    code, said, waits, left = pod(cluster.arguments(EXAMPLE_GEN, run_id), SCHEMA_GEN)
    assert (code, len(calls), waits, left) == (0, 2, [10], "")
    assert re.findall(r"^(\w+): (executed|cached),", said, re.MULTILINE)[0] == (
        EXAMPLE_GEN, "executed",
    )  # fmt: skip
    (execution,) = cluster.executions(EXAMPLE_GEN, run_id)
    assert execution.last_known_state == proto.Execution.COMPLETE
    assert len(cluster.executions(SCHEMA_GEN, run_id)) == 1


@on_one_database
def test_which_node_of_a_pod_failed_is_told_by_the_pod(cluster, pod) -> None:
    run_id = new_run()
    arguments = cluster.arguments(SCHEMA_GEN, run_id)
    code, said, waits, left = pod(arguments, "StatisticsGen", "ExampleValidator")
    assert (code, waits) == (1, [])  # what will not pass is not tried again
    assert said.startswith(f"{SCHEMA_GEN}: ")
    assert left.startswith("StatisticsGen failed: its inputs cannot be")
    assert cluster.executions("ExampleValidator", run_id) == []


@on_one_database
def test_the_trainer_is_told_which_run_it_belongs_to(cluster: Cluster, pod) -> None:
    """In a pod: runs may go on at once there. A local run goes on where a killed one was."""
    before = checkpoint_folder("model_run/1", "code")
    run_id = new_run()
    cluster.run(SCHEMA_GEN, run_id)
    assert checkpoint_folder("model_run/1", "code") == before
    pod(cluster.arguments(SCHEMA_GEN, run_id))
    assert os.environ[node.RUN_ID] == run_id
    assert checkpoint_folder("model_run/1", "code") != before


@pytest.mark.parametrize("node", [EXAMPLE_GEN, "BaselineResolver"])
def test_a_pod_that_starts_again_does_not_run_its_finished_node_again(
    cluster: Cluster, node: str
) -> None:
    run_id = new_run()
    assert node in dag(cluster.ir)
    if node == EXAMPLE_GEN:
        cluster.run(node, run_id)
    else:  # a node of TFX itself, which its launcher would simply run once more
        _publish_model(cluster, run_id)
        cluster.run(node, run_id)
    before = cluster.executions(node, run_id)
    assert cluster.run(node, run_id) == "done before"
    assert cluster.executions(node, run_id) == before
    assert len(before) == 1


def _publish_model(cluster: Cluster, run_id: str) -> None:
    """An execution of Trainer as the Resolver will look for it, without training."""
    from tfx.orchestration import metadata
    from tfx.orchestration.portable import execution_publish_utils, outputs_utils
    from tfx.orchestration.portable.mlmd import context_lib

    from pipeline.metadata.connection import connection_config

    ir = for_run(cluster.ir, run_id)
    (node,) = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == "Trainer"]
    with metadata.Metadata(connection_config(cluster.url)) as handle:
        contexts = context_lib.prepare_contexts(handle, node.contexts)
        execution = execution_publish_utils.register_execution(
            handle, node.node_info.type, contexts
        )
        outputs = outputs_utils.OutputsResolver(
            node, ir.pipeline_info, ir.runtime_spec
        ).generate_output_artifacts(execution.id)
        execution_publish_utils.publish_succeeded_execution(handle, execution.id, contexts, outputs)


def test_a_metadata_server_instead_of_a_database(tmp_path) -> None:
    with metadata_server.serve() as url:
        cluster = Cluster(tmp_path, url)
        cluster.photos(3)
        first, second = new_run(), new_run()
        assert [cluster.run(EXAMPLE_GEN, run) for run in (first, first, second)] == [
            "executed", "done before", "cached",
        ]  # fmt: skip
        with pytest.raises(NodeFailedError, match="its inputs cannot be"):
            cluster.run("StatisticsGen", new_run())


@on_one_database
def test_a_failed_driver_marks_the_execution_and_a_retry_takes_it_up(
    metadata_url, tmp_path
) -> None:
    cluster = Cluster(tmp_path, metadata_url)
    run_id = new_run()
    with pytest.raises(NodeFailedError, match="photos"):
        cluster.run(EXAMPLE_GEN, run_id)
    (failed,) = cluster.executions(EXAMPLE_GEN, run_id)
    assert failed.last_known_state == proto.Execution.FAILED
    assert "photos" in failed.custom_properties["error"].string_value
    cluster.photos(3)
    assert cluster.run(EXAMPLE_GEN, run_id) == "executed"
    (repaired,) = cluster.executions(EXAMPLE_GEN, run_id)
    assert repaired.id == failed.id
    assert repaired.last_known_state == proto.Execution.COMPLETE


INTERRUPTED = """
import os, sys, time
from kubeflow import node
from components.image_example_gen import executor

number = int(sys.argv.pop())

def interrupted(self, inputs, outputs, properties):
    folder = outputs["examples"][0].uri + "/Split-train"
    os.makedirs(folder)
    with open(folder + "/data_tfrecord-00000-of-00009.gz", "w") as file:
        file.write("half")
    os.kill(os.getpid(), number)
    time.sleep(60)

executor.Executor.Do = interrupted
node.main()
"""


@pytest.mark.slow
@on_one_database
@pytest.mark.parametrize(
    ("number", "code", "state", "reason"),
    [
        (signal.SIGKILL, -signal.SIGKILL, proto.Execution.RUNNING, ""),
        (signal.SIGTERM, 1, proto.Execution.FAILED, "TerminatedError: stopped by SIGTERM"),
    ],
)
def test_what_a_stopped_pod_left_is_removed_before_the_node_runs_again(
    metadata_url, tmp_path, number, code, state, reason
) -> None:
    cluster = Cluster(tmp_path, metadata_url)
    cluster.photos(3)
    run_id = new_run()
    stopped = subprocess.run(
        [
            sys.executable, "-c", INTERRUPTED, *cluster.arguments(EXAMPLE_GEN, run_id),
            str(int(number)),
        ],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert stopped.returncode == code, stopped.stderr
    (execution,) = cluster.executions(EXAMPLE_GEN, run_id)
    assert execution.last_known_state == state
    assert execution.custom_properties["error"].string_value == reason
    half = list(tmp_path.rglob("*-of-00009.gz"))
    assert len(half) == (number == signal.SIGKILL)  # the launcher cleans up if it can
    assert cluster.run(EXAMPLE_GEN, run_id) == "executed"
    (execution,) = cluster.executions(EXAMPLE_GEN, run_id)
    assert execution.last_known_state == proto.Execution.COMPLETE
    (uri,) = cluster.outputs(execution)
    for file in half:
        assert file.is_relative_to(uri)  # the same folder is written again
    assert not list(tmp_path.rglob("*-of-00009.gz"))


def test_inputs_that_are_not_there_fail_the_node(cluster: Cluster) -> None:
    run_id = new_run()
    with pytest.raises(NodeFailedError, match="StatisticsGen failed: its inputs cannot be"):
        cluster.run("StatisticsGen", run_id)
    execution = find_execution(cluster.store, cluster.name, run_id, "StatisticsGen")
    assert execution.last_known_state == proto.Execution.FAILED


@pytest.mark.slow
def test_two_first_runs_at_once(metadata_url, tmp_path) -> None:
    cluster = Cluster(tmp_path, metadata_url)
    cluster.photos(3)
    runs = [new_run(), new_run()]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "kubeflow.node", *cluster.arguments(EXAMPLE_GEN, run_id)],
            cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for run_id in runs
    ]  # fmt: skip
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert output.startswith(f"{EXAMPLE_GEN}: ")
    executions = [execution for run in runs for execution in cluster.executions(EXAMPLE_GEN, run)]
    assert len(executions) == 2
    for execution in executions:
        (uri,) = cluster.outputs(execution)
        assert len(list(Path(uri).glob("Split-*/*.gz"))) == 2
