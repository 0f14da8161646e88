"""Whole runs in this process: image folders, and runs that must stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner

from modules.contract import make_example
from pipeline.commands import main
from pipeline.config import CONFIG_VARIABLE, load_config
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, RunState, latest_run, read_latest
from pipeline.runtime import NodeFailedError
from tests.components.portable import prism, prism_job_server
from tests.e2e.same_artifacts import held
from tests.pipeline.local_runs import not_cached
from tests.real_data import digits

pytestmark = pytest.mark.slow


def run(root: Path, monkeypatch, data: str, evaluation: str = "") -> Run:
    config = root / "config.toml"
    config.write_text(f"""
[pipeline]
name = "local"
directory = "{root}"
[data]
path = "{root}/data"
{data}
[training]
steps = 40
batch_size = 96
validate_every = 20
[evaluation]
{evaluation}
[evaluation.thresholds."precision@1"]
lower = 0.4
""")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    try:
        run_pipeline(load_config())
    finally:
        result = latest_run(load_config())
    return result


def test_class_folders_with_unseen_classes_at_evaluation(tmp_path, monkeypatch) -> None:
    for image, label, example_id in digits(40):
        folder = tmp_path / "data" / f"digit {label.decode()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{example_id.decode().replace('/', '-')}.png").write_bytes(image)
    (tmp_path / "data" / "digit 3" / "broken.jpg").write_bytes(b"not an image")
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("id,action,value\ndigit 0/digit-0000.png,relabel,digit 8\n")
    found = run(
        tmp_path,
        monkeypatch,
        'format = "images"\nsplit = "class_disjoint"\neval_fraction = 0.4\n'
        f'corrections = "{fixes}"',
    )
    assert {node.state for node in found.nodes} == {"run"}
    examples = found.nodes[0].outputs["examples"]
    assert (examples["images"], examples["undecodable"]) == (400, 1)
    assert (examples["relabelled"], examples["unknown_corrections"]) == (1, 0)
    assert found.evaluation is not None
    slices = found.evaluation.metrics["candidate"]
    queries = {name: metrics["queries"] for name, metrics in slices.items() if name != "overall"}
    # Whole classes are held out: each has all of its 40 images in the eval split.
    assert set(queries.values()) <= {39, 40, 41}  # a 0 is an 8 by the corrections
    assert 0 < len(queries) < 10
    assert slices["overall"]["queries"] == sum(queries.values())
    assert found.evaluation.blessed
    assert found.pushed_to is not None

    audit = next(node for node in found.nodes if node.node == "DataAudit").outputs["audit"]
    assert (audit["leaked"], audit["compared"]) == (0, 0)  # no model is there yet
    # With the model of this run the command finds the 0 that is called an 8.
    page = tmp_path / "audit.html"
    report = audited("--html", str(page))
    assert report["compared"] == 400
    assert "digit 0/digit-0000.png" in [one["id"] for one in report["suspects"]]
    assert "digit 0/digit-0000.png" in page.read_text()


def audited(*arguments: str) -> dict:
    """What the command says of the configuration of this test."""
    done = CliRunner().invoke(main, ["audit", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# TFX never caches them. The model that mines looks at the labels too.
RESOLVERS = {"PreviousModelResolver", "BaselineResolver", "PreviousIndexResolver"}


def test_the_second_run_mines_with_the_model_of_the_first_and_the_third_is_cached(
    tmp_path, monkeypatch
) -> None:
    """Records that are split here, with an inferred schema."""
    (tmp_path / "data").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "all.tfrecord")) as writer:
        for i, row in enumerate(digits(40)):
            example = make_example(*row)
            example.features.feature["night"].int64_list.value.append(i % 2)
            writer.write(example.SerializeToString())
    settings = (
        'split = "hash"\nschema_file = "inferred"\n'
        '[triplets]\nstrategy = "semi_hard"\nbucket_size = 8192'
    )
    evaluation = 'slice_by = ["label", "night"]\nslice_thresholds.night."map@r".lower = 0.01'

    def sampled(found: Run) -> tuple[str, str, str]:
        nodes = {node.node: node for node in found.nodes}
        triplets = nodes["TripletGen"].outputs["triplets"]
        return nodes["TripletGen"].state, triplets["strategy"], triplets["sampled_by"]

    first = run(tmp_path, monkeypatch, settings, evaluation)
    assert {node.state for node in first.nodes} == {"run"}
    assert "SchemaGen" in {node.node for node in first.nodes}
    assert sampled(first) == ("run", "semi_hard", "random")  # no model is blessed yet
    assert first.evaluation is not None
    slices = first.evaluation.metrics["candidate"]
    assert 40 < slices["overall"]["queries"] < 120  # about a fifth of 400
    by_night = [slices[f"night={night}"]["queries"] for night in (0, 1)]
    assert sum(by_night) == slices["overall"]["queries"]
    assert first.evaluation.blessed
    assert first.pushed_to is not None
    if prism():
        compare_with_prism(tmp_path, monkeypatch, settings, evaluation)
    second = run(tmp_path, monkeypatch, settings, evaluation)
    assert sampled(second) == ("run", "semi_hard", "semi_hard")
    third = run(tmp_path, monkeypatch, settings, evaluation)
    assert not_cached(third) == RESOLVERS
    for _ in range(2):
        gc = ["gc", "--keep", "1", "--delete", "--config", str(tmp_path / "config.toml")]
        done = CliRunner().invoke(main, gc)
        assert done.exit_code == 0, done.output
        assert not_cached(run(tmp_path, monkeypatch, settings, evaluation)) == RESOLVERS


def compare_with_prism(root: Path, monkeypatch, settings: str, evaluation: str) -> None:
    """The same chain on Beam's job server: every node of Beam makes what it made in process."""
    there = root / "there"
    there.mkdir()
    (there / "data").symlink_to(root / "data")
    with prism_job_server(there) as endpoint:
        beam = f'[beam]\nrunner = "portable"\nendpoint = "{endpoint}"'
        found = run(there, monkeypatch, f"{settings}\n{beam}", evaluation)
    assert {node.state for node in found.nodes} == {"run"}
    here, elsewhere = held(root / "local"), held(there / "local")
    assert here.keys() == elsewhere.keys()
    assert [name for name in here if here[name] != elsewhere[name]] == []
    nodes = {name.partition("/")[0] for name in here}
    assert nodes >= {
        "ImportExampleGen", "StatisticsGen", "DataAudit", "Transform", "TripletGen", "Evaluator",
        "ReportGen", "IndexGen",
    }  # fmt: skip


def test_anomalies_and_leaks_stop_the_run_before_anything_is_learned(tmp_path, monkeypatch):
    def write(without_label: int | None) -> None:
        for split in ("train", "eval"):
            folder = tmp_path / "data" / split
            folder.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(folder / "data.tfrecord")) as writer:
                for number, row in enumerate(digits(4)):
                    example = make_example(*row)
                    if number == without_label:
                        del example.features.feature["label"]
                    writer.write(example.SerializeToString())

    write(7)
    with pytest.raises(NodeFailedError, match="label"):
        run(tmp_path, monkeypatch, "")
    stopped = latest_run(load_config())
    assert stopped.failed is not None
    assert stopped.failed.node == "ExampleValidator"
    assert "label" in stopped.failed.error
    assert {node.node for node in stopped.nodes}.isdisjoint({"Transform", "TripletGen", "Trainer"})

    write(None)  # the same images in train and eval
    with pytest.raises(NodeFailedError, match=r"100\.00% of the eval images have a copy in train"):
        run(tmp_path, monkeypatch, "")
    stopped, runs = read_latest(load_config())
    assert stopped.failed is not None
    assert stopped.failed.node == "DataAudit"
    assert runs[-1].state is RunState.DATA_REJECTED
    assert {node.node for node in stopped.nodes}.isdisjoint({"Trainer", "Evaluator"})
    report = audited()
    assert report["counts"]["leaked"] == 40
    assert len(report["failures"]) == 1
