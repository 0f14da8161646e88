"""The whole chain as Kubeflow runs it: compiled YAML, a process for each task, PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from kubeflow.metadata import PASSWORD, USERNAME, find_execution, open_store
from kubeflow.spec import task_name
from pipeline.config import PROJECT
from pipeline.data import write_dataset
from tests.kubeflow import databases
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


def run_all(pods: Pods, run_id: str, **parameters: object) -> dict[str, str]:
    """Runs every task; returns what became of each node."""
    states = {}
    for task in pods.order():
        line, seconds = pods.run(task, run_id, parameters)
        sys.stdout.write(f"{seconds:5.1f} s  {line}\n")
        if task != "prepare":
            node, state = re.fullmatch(r"(\w+): ([a-z ]+), [\d.]+ s", line).groups()
            assert task_name(node) == task
            states[node] = state
    return states


def models(url: str, run_id: str, node: str) -> list[str]:
    """URIs of the output `model` of a node in a run."""
    store = open_store(url)
    execution = find_execution(store, "cluster", run_id, node)
    ids = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type in (event.OUTPUT, event.INTERNAL_OUTPUT)
        and event.path.steps[0].key == "model"
    ]
    return [artifact.uri for artifact in store.get_artifacts_by_id(ids)]


def test_two_runs_and_the_local_one_share_cache_and_baseline(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(USERNAME, databases.USER)
    monkeypatch.setenv(PASSWORD, databases.PASSWORD)
    volume = tmp_path / "volume"
    splits = {"train": digits(60), "eval": digits(25, start=60)}
    write_dataset(
        volume / "data",
        {
            split: [(image, label.decode(), name.decode()) for image, label, name in rows]
            for split, rows in splits.items()
        },
    )
    with databases.postgresql() as url:
        config, package = tmp_path / "config.toml", tmp_path / "pipeline.yaml"
        config.write_text(f"""
[pipeline]
name = "cluster"
[data]
path = "{volume}/data"
[training]
steps = 40
validate_every = 20
[evaluation.thresholds."precision@1"]
lower = 0.4
[kubeflow]
directory = "{volume}"
metadata = "{url}"
""")
        kubeflow("compile", "--config", config, "--image", "triplet:1", "--output", package)
        pods = Pods(package)
        first, second, third = (str(uuid.uuid4()) for _ in range(3))

        states = run_all(pods, first)
        assert set(states.values()) == {"executed"}
        (model,) = models(url, first, "Trainer")
        assert Path(model).is_dir()
        pushed = list((volume / "cluster" / "serving").iterdir())
        assert len(pushed) == 1
        line, _ = pods.run("trainer", first)
        assert line.startswith("Trainer: done before, ")

        # The same on this machine, against the same database and folder: nothing is left to do.
        output = kubeflow("local", "--config", config, "--run-id", second)
        local_states = dict(re.findall(r"(\w+): (executed|cached)$", output, re.MULTILINE))
        assert local_states.keys() == states.keys()
        ran = {node for node, state in local_states.items() if state == "executed"}
        assert {node for node in ran if not RESOLVERS.search(node)} == set()

        # A parameter of the run: only what depends on it runs, against the model of the first run.
        states = run_all(pods, third, train_steps=41)
        ran = {node for node, state in states.items() if state == "executed"}
        assert {node for node in ran if not RESOLVERS.search(node)} == {
            "Trainer", "Evaluator", "Pusher",
        }  # fmt: skip
        assert models(url, third, "BaselineResolver") == [model]
        assert models(url, third, "Trainer") != [model]
