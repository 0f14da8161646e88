"""The whole chain as Kubeflow runs it, a process for each task, and the commands on its runs."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from modules.index import check_same_model
from pipeline.config.paths import PROJECT
from pipeline.datasets import write_dataset
from pipeline.metadata import PASSWORD, connect_store, find_execution
from pipeline.runtime import MetadataError, NotRunError
from tests.e2e.cluster_commands import Commands, check_commands
from tests.forking import quick_python
from tests.kubeflow.pods import Pods
from tests.real_data import digits

pytestmark = pytest.mark.slow

FIRST, LAST = "import-example-gen-to-example-validator", "baseline-resolver-to-pusher"
RESOLVERS = re.compile("Resolver$")  # TFX never caches them


def kubeflow(*arguments: str | Path) -> str:
    done = subprocess.run(
        [quick_python(), "-m", "kubeflow", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_all(
    pods: Pods, run_id: str, *, forked: bool = True, **parameters: object
) -> dict[str, str]:
    """Runs every task that is not skipped; returns what became of each node, as first said."""
    states: dict[str, str] = {}
    for task in pods.order():
        if pods.is_skipped(task, run_id):
            continue
        output, seconds = pods.run(task, run_id, parameters, forked=forked)
        sys.stdout.write(f"{seconds:5.1f} s  {task}\n{output}\n")
        for node, state in re.findall(r"^(\w+): ([a-z ]+), [\d.]+ s$", output, re.MULTILINE):
            states.setdefault(node, state)
    return states


def models(url: str, run_id: str, node: str) -> list[str]:
    """URIs of the output `model` of a node in a run."""
    store = connect_store(url)
    execution = find_execution(store, "cluster", run_id, node)
    ids = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type in (event.OUTPUT, event.INTERNAL_OUTPUT)
        and event.path.steps[0].key == "model"
    ]
    return [artifact.uri for artifact in store.get_artifacts_by_id(ids)]


class Volume:
    """A folder that stands for the volume, a configuration, and the compiled pipeline."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root / "volume"
        self.url = url
        splits = {"train": digits(30), "eval": digits(15, start=30)}
        write_dataset(
            self.root / "data",
            {
                split: [(image, label.decode(), name.decode()) for image, label, name in rows]
                for split, rows in splits.items()
            },
        )
        self.config, package = root / "config.toml", root / "pipeline.yaml"
        self.config.write_text(f"""
[pipeline]
name = "cluster"
[data]
path = "{self.root}/data"
[training]
steps = 20
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.2
[kubeflow]
directory = "{self.root}"
metadata = "{url}"
""")
        kubeflow("compile", "--config", self.config, "--image", "triplet:1", "--output", package)
        self.pods = Pods(package, root / "tasks")

        self.commands = Commands(self.config, "cluster", self.root, url)

    def pushed(self) -> list[Path]:
        return self.commands.served()


def test_runs_and_commands_on_both_databases(metadata_url, tmp_path, monkeypatch) -> None:
    """Every node in a process of its own, on PostgreSQL and on MariaDB."""
    volume = Volume(tmp_path, metadata_url)
    with pytest.raises(NotRunError, match="has not run yet"):
        volume.commands.call("summary")
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    # As pods start, once; the other database is no different in that.
    states = run_all(volume.pods, first, forked=not metadata_url.startswith("postgresql"))
    assert set(states.values()) == {"executed"}
    (model,) = models(metadata_url, first, "Trainer")
    assert Path(model).is_dir()
    assert models(metadata_url, first, "BaselineResolver") == []
    (version,) = volume.pushed()
    assert check_same_model(str(version)).kind == "flat"
    shown = volume.pods.shown(first, LAST)
    assert shown["pushed"] == {"version": version.name, "folder": str(version)}
    assert shown["metrics"]["blessed"] == 1
    assert 0.2 <= shown["metrics"]["candidate precision@1"] <= 1
    assert not any(name.startswith("baseline ") for name in shown["metrics"])
    assert "</html>" in volume.pods.output(first, LAST, "report")
    output, _ = volume.pods.run("trainer", first, forked=True)
    assert output.startswith("Trainer: done before, ")
    _any_user_of_the_group_can_go_on(volume)

    cached = run_all(volume.pods, second)
    assert cached.keys() == states.keys()
    assert {node for node, state in cached.items() if state != "cached"} == {
        node for node in states if RESOLVERS.search(node)
    }
    started = [task for task in volume.pods.tasks if not volume.pods.is_skipped(task, second)]
    assert started == ["prepare"]
    assert models(metadata_url, second, "Trainer") == [model]
    assert len(volume.pushed()) == 1

    _a_parameter_changes_what_depends_on_it(volume, third, model)
    check_commands(volume.commands, [(first, "pushed"), (second, "nothing new"), (third, "pushed")])
    _this_machine_shares_the_cache(volume, states)
    if metadata_url.startswith("postgresql"):  # it does not depend on the database
        _nothing_starts_after_a_failure(volume)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(MetadataError, match="cannot be used"):
        volume.commands.call("summary")


def _any_user_of_the_group_can_go_on(volume: Volume) -> None:
    """The next pod may be another user of group 0: nothing is only its maker's."""
    made = [volume.root / "cluster", *(volume.root / "cluster").rglob("*")]
    assert len(made) > 50
    modes = {path: path.stat().st_mode for path in made}
    assert not {str(path): oct(mode) for path, mode in modes.items() if not mode & stat.S_IWGRP}


def _a_parameter_changes_what_depends_on_it(volume: Volume, run_id: str, model: str) -> None:
    states = run_all(volume.pods, run_id, train_steps=21)
    ran = {node for node, state in states.items() if state == "executed"}
    assert {node for node in ran if not RESOLVERS.search(node)} == {
        "Trainer", "Evaluator", "ReportGen", "IndexGen", "Pusher",
    }  # fmt: skip
    # The blessed model of the first run is the one to beat.
    assert models(volume.url, run_id, "BaselineResolver") == [model]
    assert models(volume.url, run_id, "Trainer") != [model]
    metrics = volume.pods.shown(run_id, LAST)["metrics"]
    assert metrics["change precision@1"] == pytest.approx(
        metrics["candidate precision@1"] - metrics["baseline precision@1"]
    )


def _this_machine_shares_the_cache(volume: Volume, expected: dict[str, str]) -> None:
    """After gc all is there that the next run needs."""
    volume.config.write_text(volume.config.read_text().replace("steps = 20", "steps = 21", 1))
    run_id = str(uuid.uuid4())
    output = kubeflow("local", "--config", volume.config, "--run-id", run_id)
    states = dict(re.findall(r"\] (\w+) (done|cached), ", output))
    assert states.keys() == expected.keys()
    ran = {node for node, state in states.items() if state == "done"}
    assert {node for node in ran if not RESOLVERS.search(node)} <= {
        "Evaluator", "ReportGen", "IndexGen", "Pusher",
    }  # fmt: skip
    assert json.loads(volume.commands.call("summary", "--json"))["run_id"] == run_id


def _nothing_starts_after_a_failure(volume: Volume) -> None:
    """Kubeflow starts a task when those it depends on have succeeded; here the order stops."""
    run_id = str(uuid.uuid4())
    with pytest.raises(AssertionError, match=f"{FIRST}: (.|\\n)*ImportExampleGen failed"):
        run_all(volume.pods, run_id, data_path=f"{volume.root}/nothing")
    store = connect_store(volume.url)
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    (execution,) = (
        e for e in store.get_executions_by_context(run.id) if "ExampleGen" in _type(store, e)
    )
    assert execution.last_known_state == proto.Execution.FAILED
    assert "nothing" in execution.custom_properties["error"].string_value
    tasks = volume.pods.spec.root.dag.tasks
    waiting = {FIRST}
    while (
        more := {name for name, task in tasks.items() if waiting.intersection(task.dependent_tasks)}
        - waiting
    ):
        waiting |= more
    assert set(tasks) - waiting == {"prepare"}
    started = {_type(store, e) for e in store.get_executions_by_context(run.id)}
    assert not any(
        name.endswith(("Trainer", "Evaluator", "ReportGen", "IndexGen", "Pusher"))
        for name in started
    )


def _type(store: Any, execution: proto.Execution) -> str:
    (kind,) = store.get_execution_types_by_id([execution.type_id])
    return kind.name
