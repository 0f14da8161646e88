"""The whole chain as Kubeflow runs it: compiled YAML, a process for each task, PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from kubeflow.spec import task_name
from modules.index import check_same_model
from pipeline.config.paths import PROJECT
from pipeline.datasets import write_dataset
from pipeline.metadata import connect_store, find_execution
from tests.kubeflow.pods import Pods
from tests.real_data import digits

pytestmark = pytest.mark.slow

RESOLVERS = re.compile("Resolver$")  # TFX never caches them


def kubeflow(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kubeflow", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_all(
    pods: Pods, run_id: str, *, forked: bool = True, **parameters: object
) -> dict[str, str]:
    """Runs every task; returns what became of each node."""
    states = {}
    for task in pods.order():
        line, seconds = pods.run(task, run_id, parameters, forked=forked)
        sys.stdout.write(f"{seconds:5.1f} s  {line}\n")
        if task != "prepare":
            node, state = re.fullmatch(r"(\w+): ([a-z ]+), [\d.]+ s", line).groups()
            assert task_name(node) == task
            states[node] = state
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
        self.pods = Pods(package)

    def pushed(self) -> list[Path]:
        return list((self.root / "cluster" / "serving").glob("[0-9]*"))


def test_two_runs_on_both_databases(metadata_url, tmp_path) -> None:
    """Every node in a process of its own, on PostgreSQL and on MariaDB."""
    volume = Volume(tmp_path, metadata_url)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    # As pods start, once; the other database is no different in that.
    states = run_all(volume.pods, first, forked=not metadata_url.startswith("postgresql"))
    assert set(states.values()) == {"executed"}
    (model,) = models(metadata_url, first, "Trainer")
    assert Path(model).is_dir()
    assert models(metadata_url, first, "BaselineResolver") == []
    (version,) = volume.pushed()
    assert check_same_model(str(version)).kind == "flat"
    line, _ = volume.pods.run("trainer", first, forked=True)
    assert line.startswith("Trainer: done before, ")

    states = run_all(volume.pods, second)
    assert {node for node, state in states.items() if state != "cached"} == {
        node for node in states if RESOLVERS.search(node)
    }
    assert models(metadata_url, second, "Trainer") == [model]
    assert len(volume.pushed()) == 1

    if not metadata_url.startswith("postgresql"):
        return  # what follows does not depend on the database
    _a_parameter_changes_what_depends_on_it(volume, model)
    _this_machine_shares_the_cache(volume, states)
    _nothing_starts_after_a_failure(volume)


def _a_parameter_changes_what_depends_on_it(volume: Volume, model: str) -> None:
    run_id = str(uuid.uuid4())
    states = run_all(volume.pods, run_id, train_steps=21)
    ran = {node for node, state in states.items() if state == "executed"}
    assert {node for node in ran if not RESOLVERS.search(node)} == {
        "Trainer", "Evaluator", "ReportGen", "IndexGen", "Pusher",
    }  # fmt: skip
    # The blessed model of the first run is the one to beat.
    assert models(volume.url, run_id, "BaselineResolver") == [model]
    assert models(volume.url, run_id, "Trainer") != [model]


def _this_machine_shares_the_cache(volume: Volume, expected: dict[str, str]) -> None:
    output = kubeflow("local", "--config", volume.config)
    states = dict(re.findall(r"\] (\w+) (done|cached), ", output))
    assert states.keys() == expected.keys()
    ran = {node for node, state in states.items() if state == "done"}
    assert {node for node in ran if not RESOLVERS.search(node)} <= {
        "Evaluator", "ReportGen", "IndexGen", "Pusher",
    }  # fmt: skip


def _nothing_starts_after_a_failure(volume: Volume) -> None:
    """Kubeflow starts a task when those it depends on have succeeded; here the order stops."""
    run_id = str(uuid.uuid4())
    with pytest.raises(AssertionError, match="import-example-gen: "):
        run_all(volume.pods, run_id, data_path=f"{volume.root}/nothing")
    store = connect_store(volume.url)
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    (execution,) = (
        e for e in store.get_executions_by_context(run.id) if "ExampleGen" in _type(store, e)
    )
    assert execution.last_known_state == proto.Execution.FAILED
    assert "nothing" in execution.custom_properties["error"].string_value
    tasks = volume.pods.spec.root.dag.tasks
    waiting = {"import-example-gen"}
    while (
        more := {name for name, task in tasks.items() if waiting.intersection(task.dependent_tasks)}
        - waiting
    ):
        waiting |= more
    # All but the tasks that need no data: those depend on the one that failed.
    assert set(tasks) - waiting <= {"prepare", "import-schema-gen"}
    started = {_type(store, e) for e in store.get_executions_by_context(run.id)}
    assert not any(
        name.endswith(("Trainer", "Evaluator", "ReportGen", "IndexGen", "Pusher"))
        for name in started
    )


def _type(store: Any, execution: proto.Execution) -> str:
    (kind,) = store.get_execution_types_by_id([execution.type_id])
    return kind.name
