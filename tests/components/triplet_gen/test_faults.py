"""Workers that die, bundles that run twice, disks that fill up: nothing wrong is left behind."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_metadata as mlmd
import psutil
import pytest
from ml_metadata import proto
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.triplet_gen import TripletGen
from pipeline.config import PROJECT
from tests.components.triplet_gen.triplet_node import check, contents, make, run
from tests.real_data import BEAM_ARGS, digits, examples_artifact

_CHILD = """
import json, sys
from tfx.types import standard_artifacts
from pipeline.config import PROJECT
from tests.components.triplet_gen.triplet_node import make

examples = standard_artifacts.Examples()
examples.uri, examples.split_names = sys.argv[1], '["train"]'
make(sys.argv[2], examples, sys.argv[4:], **json.loads(sys.argv[3]))
"""
_PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


_SETTINGS = {"bucket_size": 40, "triplets_per_anchor": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Many digits, and the files that are made of them when nothing fails."""
    root = tmp_path_factory.mktemp("made")
    examples = examples_artifact(root / "examples", {"train": digits(500)}, shards=4)
    return examples, contents(make(root / "expected", examples, **_SETTINGS))


def start(examples, output: Path, settings, beam_args=()) -> subprocess.Popen:
    """Runs the executor in a process of its own, which one may kill."""
    arguments = [examples.uri, str(output), json.dumps(settings), *beam_args]
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, *arguments],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_process_killed_while_it_writes(made, tmp_path):
    examples, expected = made
    shards = sum("Split-" in name for name in expected)

    child = start(examples, tmp_path / "out", _SETTINGS)
    try:
        while child.poll() is None and len(_shards(tmp_path / "out")) < 3:
            time.sleep(0.001)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL
    assert 3 <= len(_shards(tmp_path / "out")) < shards
    assert not (tmp_path / "out" / "triplets.json").exists()

    # What is there is whole, and the next attempt at the same artifact gives what it should.
    for shard in _shards(tmp_path / "out"):
        assert shard.read_bytes() == expected[f"Split-train/{shard.name}"]
    assert contents(make(tmp_path / "out", examples, **_SETTINGS)) == expected


def workers_of(driver: subprocess.Popen) -> list[psutil.Process]:
    """The Python processes that Beam started, without the shells around them."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # zombies, too
            if process.cmdline()[1:3] == ["-m", "apache_beam.runners.worker.sdk_worker_main"]:
                found.append(process)
    return found


# Killed while it starts, when Beam by itself would wait for ever, and while it writes.
@pytest.mark.slow
@pytest.mark.parametrize("shards_before", [0, 3])
def test_a_worker_process_killed(made, tmp_path, shards_before):
    examples, expected = made
    output = tmp_path / "out"
    driver = start(examples, output, _SETTINGS, _PROCESSES)
    children: list[psutil.Process] = []
    try:
        while len(children) < 2:
            assert driver.poll() is None
            children = workers_of(driver)
        while len(_shards(output)) < shards_before:
            assert driver.poll() is None
            time.sleep(0.001)
        children[0].kill()
        _, log = driver.communicate(timeout=100)
    finally:
        for process in (driver, *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        driver.wait()
    assert driver.returncode == 1
    assert "TripletGen: a worker process of Beam ended before its work was done" in log
    assert not output.joinpath("triplets.json").exists()
    # What is there, if anything, is whole; and the next attempt gives what it should.
    for shard in _shards(output):
        assert shard.read_bytes() == expected[f"Split-train/{shard.name}"]
    assert contents(make(output, examples, _PROCESSES, **_SETTINGS)) == expected


def _shards(root: Path) -> list[Path]:
    return list((root / "Split-train").glob("*"))


@pytest.mark.parametrize("strategy", ["random", "class_balanced"])
def test_bundles_that_run_twice(tmp_path, strategy):
    rows = digits(70)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    settings = {"bucket_size": 90, "strategy": strategy, "max_per_class": 50}
    once = make(tmp_path / "once", examples, **settings)
    twice = make(tmp_path / "twice", examples, ["--direct_runner_bundle_repeat=1"], **settings)
    assert contents(once) == contents(twice)
    # Not even the temporary files of the extra attempts.
    assert not (tmp_path / "twice" / ".tmp").exists()


@contextlib.contextmanager
def largest_file(size: int):
    """No file of this process may grow beyond `size` bytes, as if the disk were full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# 300 digits have 81 kB. They are copied to one file per input file, and come out in one file.
@pytest.mark.parametrize(("size", "place"), [(20_000, r"\.tmp/"), (70_000, r"\.tmp/triplets-")])
def test_a_full_disk_fails_the_node_and_leaves_nothing_complete(tmp_path, size, place):
    rows = digits(30)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = standard_artifacts.Examples()
    output.uri = str(tmp_path / "out")
    make(tmp_path / "out", examples, triplets_per_anchor=4)  # an earlier attempt, complete
    with largest_file(size), pytest.raises(Exception, match=rf"{tmp_path}/out/{place}") as error:
        run(output, examples, triplets_per_anchor=4)
    assert "File too large" in str(error.value)
    assert not (tmp_path / "out" / "triplets.json").exists()
    assert not (tmp_path / "out" / ".tmp").exists()
    assert not list((tmp_path / "out").glob("Split-train/*"))
    assert not output.has_custom_property("triplets")
    assert not output.has_custom_property("strategy")

    run(output, examples, triplets_per_anchor=4)
    check(output, rows, 4)


def test_a_full_disk_through_driver_and_launcher(tmp_path):
    rows = digits(60)
    uri = examples_artifact(tmp_path / "examples", {"train": rows}).uri
    database = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))

    def run_pipeline() -> None:
        examples = Importer(
            uri, standard_artifacts.Examples, properties={"split_names": '["train"]'}
        ).with_id("Examples")
        node = TripletGen(examples.outputs["result"], triplets_per_anchor=1000)
        components = [examples, node]
        LocalDagRunner().run(
            Pipeline(
                "disk",
                str(tmp_path / "root"),
                metadata_connection_config=database,
                components=components,
                # Without a name there TFX packs itself first, in files larger than allowed here.
                beam_pipeline_args=[*BEAM_ARGS, "--sdk_container_image=none"],
            )
        )

    # The database is smaller than that, and 1,000 triplets of 540 digits are larger.
    with largest_file(1_500_000), pytest.raises(Exception, match="File too large") as error:
        run_pipeline()
    assert f"{tmp_path}/root/TripletGen/triplets/" in str(error.value)
    store = mlmd.MetadataStore(database)
    (execution,) = executions(store)
    assert execution.last_known_state == proto.Execution.FAILED
    assert proto.Artifact.LIVE not in {output.state for output in outputs(store, execution)}
    assert not [path for path in (tmp_path / "root" / "TripletGen").rglob("*") if path.is_file()]

    run_pipeline()
    failed, done = executions(store)
    assert failed.last_known_state == proto.Execution.FAILED
    assert done.last_known_state == proto.Execution.COMPLETE
    (triplets,) = outputs(store, done)
    assert triplets.state == proto.Artifact.LIVE
    assert triplets.custom_properties["triplets"].int_value > 500_000


def executions(store: mlmd.MetadataStore) -> list[proto.Execution]:
    """Those of TripletGen, in order."""
    found = store.get_executions_by_type("components.triplet_gen.component.TripletGen")
    return sorted(found, key=lambda execution: execution.id)


def outputs(store: mlmd.MetadataStore, execution: proto.Execution) -> list[proto.Artifact]:
    events = store.get_events_by_execution_ids([execution.id])
    ids = [event.artifact_id for event in events if event.type != proto.Event.INPUT]
    return store.get_artifacts_by_id(ids)
