"""Spans arrive one after the other: what each run reads, trains on and evaluates on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.orchestration.pipeline import RunOptions

from modules.contract import make_example
from pipeline.config import CONFIG_VARIABLE, load_config
from pipeline.definition import create_pipeline
from pipeline.local_runner import LocalRunner, run_pipeline
from pipeline.metadata import Run, RunSummary, latest_run, read_runs
from pipeline.operations.reference_scores import latest_reference_scores
from pipeline.runtime import NodeFailedError
from tests.real_data import digits

pytestmark = pytest.mark.slow

PER_CLASS = 12


class Arriving:
    """A pipeline of its own, and the folder where its data arrives."""

    def __init__(self, root: Path, monkeypatch, data: str) -> None:
        self.data = root / "data"
        config = root / "config.toml"
        config.write_text(f"""
[pipeline]
name = "spans"
directory = "{root}"
warm_start = true
[data]
path = "{self.data}"
{data}
[image]
height = 28
width = 28
channels = 1
[audit]
enabled = false
[index]
enabled = false
[training]
steps = 20
batch_size = 32
validate_every = 10
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.1
""")
        monkeypatch.setenv(CONFIG_VARIABLE, str(config))

    def images(self, folder: str, number: int) -> None:
        """The `number`-th part of the digits, as image files in class folders."""
        for image, label, name in digits(PER_CLASS, start=number * PER_CLASS):
            path = self.data / folder / f"digit {label.decode()}" / f"{name.decode()[-4:]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)

    def records(self, path: str, number: int, *, label: bool = True) -> None:
        """The same as a file of tf.Examples."""
        (self.data / path).parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(self.data / path)) as writer:
            for row in digits(PER_CLASS, start=number * PER_CLASS):
                example = make_example(*row)
                if not label:
                    del example.features.feature["label"]
                writer.write(example.SerializeToString())

    def run(self, to: str | None = None) -> Run:
        """Runs the chain, or of it what leads to one node."""
        config = load_config()
        if to is None:
            run_pipeline(config)
        else:
            LocalRunner(config).run(create_pipeline(config), RunOptions(to_nodes=[to]))
        return latest_run(config)

    def rejected(self, message: str) -> Run:
        with pytest.raises(NodeFailedError, match=message):
            run_pipeline(load_config())
        return latest_run(load_config())

    def summary(self) -> RunSummary:
        return read_runs(load_config())[-1]


def ran(run: Run) -> set[str]:
    """Nodes that did something; resolvers are never cached."""
    return {n.node for n in run.nodes if n.state == "run" and not n.node.endswith("Resolver")}


def queries(run: Run) -> float:
    assert run.evaluation is not None
    return run.evaluation.metrics["candidate"]["overall"]["queries"]


def test_image_folders_by_number_with_a_fixed_evaluation_span(tmp_path, monkeypatch) -> None:
    arriving = Arriving(
        tmp_path,
        monkeypatch,
        'format = "images"\nsplit = "class_disjoint"\neval_fraction = 0.4\n'
        'pattern = "span-{SPAN}/*/*"\nwindow = 2\nevaluation_span = 1',
    )
    arriving.images("span-1", 0)
    arriving.images("span-2", 1)  # both wait: the first one is read first
    first = arriving.run()
    assert (arriving.summary().span, arriving.summary().window) == (1, (1,))
    of_one_span = queries(first)
    assert of_one_span % PER_CLASS == 0

    second = arriving.run()
    assert (arriving.summary().span, arriving.summary().window) == (2, (1, 2))
    assert queries(second) == of_one_span  # of span 1 again
    assert latest_reference_scores(load_config())["candidate"]["map@r"] > 0
    trainer = next(node for node in second.nodes if node.node == "Trainer")
    assert trainer.state == "run"
    assert second.pushed_to is not None

    # Nothing new, an empty folder, and one that is no span: every node is cached.
    (tmp_path / "data" / "span-3").mkdir()
    arriving.images("span-3-draft", 3)
    third = arriving.run()
    assert ran(third) == set()
    assert third.pushed_to is None

    (tmp_path / "data" / "span-3" / "digit 0").mkdir()
    (tmp_path / "data" / "span-3" / "digit 0" / "broken.png").write_bytes(b"no image")
    arriving.rejected("cannot be decoded")
    assert arriving.summary().span == 3
    shutil.rmtree(tmp_path / "data" / "span-3-draft")
    arriving.images("span-4", 2)
    fourth = arriving.run(to="TripletGen")
    assert (arriving.summary().span, arriving.summary().window) == (4, (2, 4))
    # The label alone decides: no class was ever on both sides.
    sides = {"train": set(), "eval": set()}
    for node in (first, second, fourth):
        uri = Path(node.nodes[0].outputs["examples"]["uri"])
        for split, labels in sides.items():
            for file in uri.glob(f"Split-{split}/*"):
                for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
                    example = tf.train.Example.FromString(record)
                    labels.add(example.features.feature["label"].bytes_list.value[0])
    assert not sides["train"] & sides["eval"]
    assert len(sides["train"] | sides["eval"]) == 10


def test_records_by_day_and_version_with_a_rolling_evaluation(tmp_path, monkeypatch) -> None:
    arriving = Arriving(
        tmp_path,
        monkeypatch,
        'train = "{YYYY}-{MM}-{DD}/v{VERSION:2}/train.tfrecord"\n'
        'eval = "{YYYY}-{MM}-{DD}/v{VERSION:2}/eval.tfrecord"\nwindow = 3',
    )

    def arrives(day: str, version: int, number: int, *, label: bool = True) -> None:
        folder = f"2026-01-{day}/v{version:02}"
        arriving.records(f"{folder}/train.tfrecord", 2 * number, label=label)
        arriving.records(f"{folder}/eval.tfrecord", 2 * number + 1, label=label)

    all_of_span = 10 * PER_CLASS
    arrives("30", 1, 0)
    assert queries(arriving.run()) == all_of_span
    start = arriving.summary().span  # days since 1970-01-01

    arrives("31", 1, 1, label=False)
    stopped = arriving.rejected("label")
    assert stopped.failed is not None
    assert stopped.failed.node == "ExampleValidator"
    arriving.records("2026-02-01/v01/train.tfrecord", 8)
    (tmp_path / "data" / "2026-02-01" / "v01" / "train.tfrecord.part").touch()
    arriving.rejected("label")  # without eval data the next day has not arrived yet
    assert arriving.summary().span == start + 1

    arrives("31", 2, 2)  # delivered again, and good
    assert queries(arriving.run()) == 2 * all_of_span
    assert arriving.summary().window == (start, start + 1)

    arriving.records("2026-02-01/v01/eval.tfrecord", 9)
    arriving.run(to="TripletGen")
    assert arriving.summary().window == (start, start + 1, start + 2)
