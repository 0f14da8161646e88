"""The whole chain through the real `tfx` command on real digits, several runs of one pipeline."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from modules.index import check_same_model, index_folder, open_index
from pipeline.config import CONFIG_VARIABLE, load_config
from pipeline.config.paths import PROJECT
from pipeline.datasets import write_dataset
from pipeline.metadata import latest_run
from tests.forking import quick_python
from tests.real_data import digits

NODES = [
    "ImportExampleGen", "ImportSchemaGen", "AuditModelResolver", "StatisticsGen",
    "ExampleValidator", "DataAudit", "Transform", "TripletGen", "Trainer", "BaselineResolver",
    "Evaluator", "ReportGen", "PreviousIndexResolver", "IndexGen", "Pusher",
]  # fmt: skip
ENGINE = ["--engine", "local"]

pytestmark = pytest.mark.slow


class Workspace:
    """A pipeline of its own in a temporary folder.

    Attributes:
        program: The `tfx` command.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program: list[str | Path] = [Path(sys.executable).with_name("tfx")]
        self.config = root / "config.toml"
        self.environment = os.environ | {
            "LOCAL_HOME": str(root / "tfx"),
            CONFIG_VARIABLE: str(self.config),
        }
        splits = {"train": digits(60), "eval": digits(25, start=60)}
        write_dataset(
            root / "data",
            {
                split: [(image, label.decode(), name.decode()) for image, label, name in rows]
                for split, rows in splits.items()
            },
        )

    def configure(self, *, steps: int) -> None:
        self.config.write_text(f"""
[pipeline]
name = "e2e"
directory = "{self.root}"
[data]
path = "{self.root}/data"
[training]
steps = {steps}
batch_size = 192
validate_every = 20
[evaluation.thresholds."precision@1"]
lower = 0.5
max_drop = 0.02
[evaluation.thresholds."map@r"]
max_drop = 0.02
""")

    def command(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True
        )

    def tfx(self, *arguments: str) -> str:
        done = self.command(*self.program, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json_summary(self) -> dict:
        done = self.command(sys.executable, "-m", "pipeline", "summary", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self) -> dict:
        output = self.tfx("run", "create", *ENGINE, "--pipeline_name", "e2e")
        assert "[15/15] Pusher" in output  # progress is visible
        return dataclasses.asdict(latest_run(load_config(str(self.config))))

    def pushed(self) -> list[str]:
        return sorted(path.name for path in (self.root / "e2e" / "serving").glob("[0-9]*"))


def states(summary: dict) -> dict[str, str]:
    assert sorted(node["node"] for node in summary["nodes"]) == sorted(NODES)  # each exactly once
    return {node["node"]: node["state"] for node in summary["nodes"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("e2e"))
    workspace.configure(steps=60)
    runner = str(PROJECT / "pipeline" / "local_runner.py")
    output = workspace.tfx("pipeline", "create", *ENGINE, "--pipeline_path", runner)
    assert 'Pipeline "e2e" created successfully.' in output
    return workspace


def test_first_run_again_and_a_worse_model(workspace: Workspace) -> None:
    first = workspace.run()
    # The others do the same but for the start of two interpreters each.
    workspace.program = [quick_python(), "-m", "tfx.tools.cli.cli_main"]
    assert set(states(first).values()) == {"run"}
    assert first["evaluation"]["blessed"] is True
    assert list(first["evaluation"]["metrics"]) == ["candidate"]  # no baseline yet
    assert first["evaluation"]["metrics"]["candidate"]["overall"]["precision@1"] > 0.5
    assert len(first["evaluation"]["metrics"]["candidate"]) == 1 + 10  # overall and each digit
    versions = workspace.pushed()
    assert len(versions) == 1
    assert first["pushed_to"].endswith(versions[0])
    pushed = tf.saved_model.load(first["pushed_to"])
    embedding = pushed.signatures["images"](images=tf.constant([digits(1)[0][0]]))["embedding"]
    assert embedding.shape == (1, 128)
    # Beside it the index of all images, which this model made; the image finds itself.
    description = check_same_model(first["pushed_to"])
    assert (description.images, description.kind) == (10 * (60 + 25), "flat")
    index = open_index(index_folder(first["pushed_to"]))
    distances, rows = index.search(embedding.numpy(), 1)
    assert index.rows(rows[0])[0]["id"] == digits(1)[0][2]
    assert distances[0, 0] < 1e-5

    again = workspace.run()
    ran = {node for node, state in states(again).items() if state != "cached"}
    # TFX never caches a Resolver.
    assert ran == {"AuditModelResolver", "BaselineResolver", "PreviousIndexResolver"}
    assert again["pushed_to"] is None
    assert workspace.pushed() == versions

    workspace.configure(steps=1)
    worse = workspace.run()
    ran = {node for node, state in states(worse).items() if state != "cached"}
    assert ran == set(NODES[8:]) | {"AuditModelResolver"}
    metrics = worse["evaluation"]["metrics"]
    # The baseline is the model of the first run, on the same eval split.
    assert metrics["baseline"]["overall"]["map@r"] == pytest.approx(
        first["evaluation"]["metrics"]["candidate"]["overall"]["map@r"], abs=1e-6
    )
    assert metrics["change"]["overall"]["map@r"] == pytest.approx(
        metrics["candidate"]["overall"]["map@r"] - metrics["baseline"]["overall"]["map@r"]
    )
    assert worse["evaluation"]["blessed"] is False
    assert "map@r" in {failure["metric"] for failure in worse["evaluation"]["failures"]}
    assert any(
        "below the last blessed model" in failure["reason"]
        for failure in worse["evaluation"]["failures"]
    )
    assert worse["pushed_to"] is None
    assert workspace.pushed() == versions

    summary = workspace.json_summary()
    said = json.dumps(worse, default=lambda table: table.model_dump(mode="json"))
    assert {key: summary[key] for key in worse} == json.loads(said)
    assert Path(summary["training_logs"], "tsne.png").exists()
    assert list(Path(summary["training_logs"], "train").glob("events.out.tfevents*"))
    sizes = {kind: model["bytes"] for kind, model in summary["tflite"]["models"].items()}
    extra = Path(first["pushed_to"], "assets.extra")
    assert sizes == {
        kind: (extra / f"embedding_{kind}.tflite").stat().st_size for kind in ("float", "dynamic")
    }
    table = workspace.command(sys.executable, "-m", "pipeline", "summary")
    assert "NOT BLESSED" in table.stdout
    assert f"tensorboard --logdir {worse['training_logs']}" in table.stdout
    for kind, model in summary["tflite"]["models"].items():
        row = next(line for line in table.stdout.splitlines() if f"embedding_{kind}.tflite" in line)
        assert f"{model['bytes'] / 1000:,.0f}" in row
        assert f"{model['latency_ms']:.2f}" in row
    assert "Nothing was pushed: the model was rejected" in table.stdout
