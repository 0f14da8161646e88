"""summary, history, gc and rollback on the runs of a cluster: real runs on both databases."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import mark_failed, update_execution
from components.pusher import same_files
from pipeline.commands import main
from pipeline.config import PROJECT, cluster_config, load_config
from pipeline.metadata import PASSWORD, connect_store, find_execution, read_runs
from pipeline.runtime import ConfigError, LockedError, MetadataError, NotRunError
from tests.forking import quick_python
from tests.real_data import digits

pytestmark = pytest.mark.slow


class Cluster:
    """A folder that stands for the volume, and a pipeline that is new to the database."""

    def __init__(self, root: Path, url: str) -> None:
        import tensorflow as tf

        from modules.contract import make_example

        self.root, self.url = root / "volume", url
        self.name = f"commands-{uuid.uuid4().hex[:8]}"
        self.path = root / "config.toml"
        (self.root / "data").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(self.root / "data" / "all.tfrecord")) as writer:
            for row in digits(40):
                writer.write(make_example(*row).SerializeToString())
        self.configure(20)

    def configure(self, steps: int, directory: str | None = None) -> None:
        self.path.write_text(f"""
[pipeline]
name = "{self.name}"
[data]
path = "{directory or self.root}/data"
split = "hash"
[training]
steps = {steps}
batch_size = 40
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.2
max_drop = 0.5
[kubeflow]
directory = "{directory or self.root}"
metadata = "{self.url}"
""")

    def run(self, steps: int) -> str:
        """Runs all nodes as `kubeflow local` does; returns the id of the run."""
        self.configure(steps)
        run_id = str(uuid.uuid4())
        command = ["local", "--config", str(self.path), "--run-id", run_id]
        done = subprocess.run(
            [quick_python(), "-m", "kubeflow", *command],
            cwd=PROJECT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return run_id

    def call(self, command: str, *options: str) -> str:
        arguments = [command, "--config", str(self.path), "--kubeflow", *options]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def served(self) -> list[Path]:
        return sorted((self.root / self.name / "serving").glob("[0-9]*"))


def test_the_four_commands(metadata_url, tmp_path, monkeypatch) -> None:
    cluster = Cluster(tmp_path, metadata_url)
    with pytest.raises(NotRunError, match="has not run yet"):
        cluster.call("summary")
    first, second = cluster.run(20), cluster.run(40)
    (old, bad) = cluster.served()

    found = json.loads(cluster.call("summary", "--json"))
    assert found["run_id"] == second
    assert found["run"]["state"] == "pushed"
    assert found["pushed_to"] == str(bad)
    assert found["evaluation"]["blessed"] is True
    assert set(found["evaluation"]["metrics"]) == {"candidate", "baseline", "change"}
    assert found["problems"] == []
    assert {node["node"]: node["state"] for node in found["nodes"]}["TripletGen"] == "cached"
    text = cluster.call("summary")
    assert "BLESSED: every threshold is met." in text
    assert f"Pushed to {bad}" in text
    runs = json.loads(cluster.call("history", "--json"))
    assert [(run["run_id"], run["state"]) for run in runs] == [
        (first, "pushed"),
        (second, "pushed"),
    ]
    assert f"Runs of {cluster.name}" in cluster.call("history")

    _nothing_changes_while_a_pod_works(cluster, second)
    before = sorted(cluster.root.rglob("*"))
    assert "Nothing was changed" in cluster.call("gc", "--keep", "1")
    assert sorted(cluster.root.rglob("*")) == before

    said = cluster.call("rollback")
    back = cluster.served()[-1]
    assert back not in (old, bad)
    assert same_files(str(back), str(old))
    assert f"Version {back.name} in " in said
    assert "No longer blessed: model " in said
    config = cluster_config(load_config(str(cluster.path)))
    summary = read_runs(config)[-1]
    assert (summary.version, summary.blessed) == (bad.name, False)
    assert f"rolled back from version {bad.name}" in (summary.reason or "")
    with pytest.raises(ConfigError, match="no earlier blessed model"):
        cluster.call("rollback")
    assert str(back.name) in cluster.call("rollback", "--to", old.name)  # it holds this already
    forth = cluster.call("rollback", "--to", bad.name)
    assert same_files(str(cluster.served()[-1]), str(bad)), forth

    assert "Removed" in cluster.call("gc", "--keep", "1", "--delete")
    assert "Nothing to remove." in cluster.call("gc", "--keep", "1", "--delete")
    assert json.loads(cluster.call("summary", "--json"))["problems"] == []
    third = cluster.run(40)  # all is there that the next run needs
    last = json.loads(cluster.call("summary", "--json"))
    assert last["run_id"] == third
    ran = {node["node"] for node in last["nodes"] if node["state"] != "cached"}
    assert {node for node in ran if not node.endswith("Resolver")} <= {
        "Evaluator", "ReportGen", "IndexGen", "Pusher",
    }  # fmt: skip

    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(MetadataError, match="cannot be used"):
        cluster.call("summary")


def _nothing_changes_while_a_pod_works(cluster: Cluster, run_id: str) -> None:
    store = connect_store(cluster.url)
    trainer = find_execution(store, cluster.name, run_id, "Trainer")
    assert trainer is not None
    update_execution(store, trainer, proto.Execution.RUNNING)
    for options in (["rollback"], ["gc", "--delete"]):
        with pytest.raises(LockedError) as error:
            cluster.call(*options)
        assert f"the node Trainer of run {run_id} is running" in str(error.value)
        assert f"kubeflow local --run-id {run_id}" in str(error.value)
    assert json.loads(cluster.call("summary", "--json"))["run"]["state"] == "running"
    assert "at Trainer" in cluster.call("history")
    cluster.call("gc")  # looking is allowed
    mark_failed(store, trainer, "evicted")
    assert json.loads(cluster.call("summary", "--json"))["run"]["reason"] == "evicted"
    update_execution(store, trainer, proto.Execution.COMPLETE)


def test_a_bucket_and_a_volume_that_this_machine_does_not_see(metadata_url, tmp_path) -> None:
    cluster = Cluster(tmp_path, metadata_url)
    store = connect_store(metadata_url)
    kinds = {
        name: store.put_context_type(proto.ContextType(name=name))
        for name in ("pipeline", "pipeline_run", "node")
    }
    model = proto.Artifact(
        type_id=store.put_artifact_type(proto.ArtifactType(name="ModelEvaluation")),
        uri="gs://no-such-bucket-of-ours/evaluation", state=proto.Artifact.LIVE,
    )  # fmt: skip
    made = proto.Event(type=proto.Event.OUTPUT)
    made.path.steps.add().key = "evaluation"
    names = {"pipeline": cluster.name, "pipeline_run": cluster.name + "-1",
             "node": cluster.name + ".Evaluator"}  # fmt: skip
    store.put_execution(
        proto.Execution(
            type_id=store.put_execution_type(proto.ExecutionType(name="Evaluator")),
            last_known_state=proto.Execution.COMPLETE,
        ),
        [(model, made)],
        [proto.Context(type_id=kinds[kind], name=name) for kind, name in names.items()],
        reuse_context_if_already_exist=True,
    )
    cluster.configure(20, "gs://no-such-bucket-of-ours")
    found = json.loads(cluster.call("summary", "--json"))
    assert found["evaluation"] is None
    assert "gs://no-such-bucket-of-ours/evaluation/evaluation.json" in found["problems"][0]
    cluster.call("summary")
    cluster.call("history")
    with pytest.raises(ConfigError, match="gc works on local folders"):
        cluster.call("gc")

    cluster.configure(20, str(tmp_path / "not-mounted"))
    for command in (["rollback"], ["gc"], ["gc", "--delete"]):
        with pytest.raises(ConfigError, match="does not see the volume of the cluster"):
            cluster.call(*command)
    assert not (tmp_path / "not-mounted").exists()
