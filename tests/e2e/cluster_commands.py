"""summary, history, gc and rollback on the runs of a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import mark_failed, update_execution
from components.pusher import same_files
from pipeline.commands import main
from pipeline.config import cluster_config, load_config
from pipeline.metadata import connect_store, find_execution, read_runs
from pipeline.runtime import ConfigError, LockedError


class Commands:
    """The commands, with `--kubeflow`.

    Args:
        config: Path of the configuration.
        name: Of its pipeline.
        root: The folder that stands for the volume.
        url: Of the metadata database.
    """

    def __init__(self, config: Path, name: str, root: Path, url: str) -> None:
        self.config, self.name, self.root, self.url = config, name, root, url

    def call(self, command: str, *options: str) -> str:
        arguments = [command, "--config", str(self.config), "--kubeflow", *options]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def served(self) -> list[Path]:
        return sorted((self.root / self.name / "serving").glob("[0-9]*"))


def check_commands(cluster: Commands, runs: list[tuple[str, str]]) -> None:
    """Looks, rolls back and forth, and removes what no run needs.

    Args:
        cluster: Two models were pushed, the second by the last run.
        runs: Id and state of all runs, the oldest first.
    """
    (old, bad) = cluster.served()
    last, _ = runs[-1]
    found = json.loads(cluster.call("summary", "--json"))
    assert found["run_id"] == last
    assert found["run"]["state"] == "pushed"
    assert found["pushed_to"] == str(bad)
    assert found["evaluation"]["blessed"] is True
    assert set(found["evaluation"]["metrics"]) == {"candidate", "baseline", "change"}
    assert found["problems"] == []
    assert {node["node"]: node["state"] for node in found["nodes"]}["TripletGen"] == "cached"
    text = cluster.call("summary")
    assert "BLESSED: every threshold is met." in text
    assert f"Pushed to {bad}" in text
    history = json.loads(cluster.call("history", "--json"))
    assert [(run["run_id"], run["state"]) for run in history] == runs
    assert f"Runs of {cluster.name}" in cluster.call("history")

    _nothing_changes_while_a_pod_works(cluster, last)
    before = sorted(cluster.root.rglob("*"))
    assert "Nothing was changed" in cluster.call("gc", "--keep", "1")
    assert sorted(cluster.root.rglob("*")) == before

    said = cluster.call("rollback")
    back = cluster.served()[-1]
    assert back not in (old, bad)
    assert same_files(str(back), str(old))
    assert f"Version {back.name} in " in said
    assert "No longer blessed: model " in said
    config = cluster_config(load_config(str(cluster.config)))
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


def _nothing_changes_while_a_pod_works(cluster: Commands, run_id: str) -> None:
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
