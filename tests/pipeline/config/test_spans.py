"""Spans through the first nodes of the chain: what each is compared with, and what is cached."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tfx.orchestration.pipeline import RunOptions

from modules.contract import make_example
from pipeline.config import Config, load_config
from pipeline.definition import create_pipeline
from pipeline.local_runner import LocalRunner
from pipeline.metadata import Run, latest_run
from pipeline.runtime import NodeFailedError
from tests.components.example_validator.validation_nodes import redrawn
from tests.real_data import Row, digits

pytestmark = pytest.mark.slow


def part(number: int, classes=range(8)) -> list[Row]:
    """240 or more digits that are in no other part; about 190 are in the train split."""
    return digits(30, start=30 * number, classes=classes)


class Validated:
    """The chain up to ExampleValidator."""

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / "config.toml"
        (root / "data").mkdir()
        self.configure()

    def configure(self, tables: str = "") -> None:
        self._file.write_text(f"""
[pipeline]
name = "validated"
directory = "{self._root}"
[data]
path = "{self._root}/data"
split = "hash"
pattern = "span-{{SPAN}}.tfrecord"
{tables}
""")

    @property
    def config(self) -> Config:
        return load_config(str(self._file))

    def arrives(self, span: int, rows: list[Row]) -> None:
        with tf.io.TFRecordWriter(str(self._root / "data" / f"span-{span}.tfrecord")) as writer:
            for row in rows:
                writer.write(make_example(*row).SerializeToString())

    def run(self) -> Run:
        config = self.config
        LocalRunner(config).run(create_pipeline(config), RunOptions(to_nodes=["ExampleValidator"]))
        return latest_run(config)

    def rejected(self, message: str) -> None:
        with pytest.raises(NodeFailedError, match=message):
            self.run()


def anomalies(run: Run) -> dict:
    return {node.node: node for node in run.nodes}["ExampleValidator"].outputs["anomalies"]


def test_a_span_is_compared_with_the_last_one_that_passed(tmp_path) -> None:
    chain = Validated(tmp_path)
    chain.arrives(1, part(0))
    first = anomalies(chain.run())
    assert "previous_span" not in first
    assert first["span"] == 1

    chain.arrives(3, part(1, range(10)))  # a gap, and two new classes
    second = anomalies(chain.run())
    assert (second["span"], second["previous_span"]) == (3, 1)
    assert second["new_classes"] == "8, 9"

    again = chain.run()
    states = {node.node: node.state for node in again.nodes}
    assert states.pop("PreviousStatisticsResolver") != "cached"  # resolvers never are
    assert set(states.values()) == {"cached"}

    chain.arrives(4, redrawn(part(2), lambda pixels: 255 - pixels))
    chain.rejected("image/brightness.*above the threshold 0.25")
    chain.rejected("image/brightness.*above the threshold 0.25")  # it does not pass by repetition

    chain.arrives(5, part(3))
    third = anomalies(chain.run())
    assert (third["span"], third["previous_span"]) == (5, 3)  # not the rejected one
    assert third["vanished_classes"] == "8, 9"


def test_wanted_drift_passes_with_another_threshold(tmp_path) -> None:
    chain = Validated(tmp_path)
    chain.arrives(1, part(0))
    chain.run()
    chain.arrives(2, redrawn(part(1), lambda pixels: 255 - pixels))
    chain.rejected("image/brightness")
    chain.configure("[validation.drift]\nbrightness = 0")
    assert anomalies(chain.run())["previous_span"] == 1
    chain.configure()
    chain.arrives(3, redrawn(part(2), lambda pixels: 255 - pixels))
    assert anomalies(chain.run())["previous_span"] == 2


def test_an_inferred_schema_is_compared_by_the_same_thresholds(tmp_path) -> None:
    chain = Validated(tmp_path)
    chain.configure('schema_file = "inferred"')
    chain.arrives(1, part(0))
    chain.run()
    chain.arrives(2, redrawn(part(1), lambda pixels: 255 - pixels))
    chain.rejected("image/brightness")
