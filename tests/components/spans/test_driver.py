"""Which span a run reads: real drivers, launchers, executors and metadata, one node at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from absl import logging
from hypothesis import given, strategies as st
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.local import runner_utils
from tfx.utils import import_utils

from components.image_example_gen import ImageExampleGen, given_splits, hash_split
from components.record_example_gen import RecordExampleGen
from components.spans.driver import SpanDriver
from modules.contract import make_example
from tests.components.spans.span_runs import Runs, images
from tests.real_data import digits


@pytest.fixture
def numbered(tmp_path: Path) -> Runs:
    return Runs(tmp_path, images("span-{SPAN}/*/*"))


def test_waiting_spans_are_read_in_order_and_then_there_is_nothing_new(numbered: Runs) -> None:
    for span in (2, 10, 3):
        numbered.arrives(f"span-{span}", start=2 * span)
    read = [numbered.run() for _ in range(5)]
    assert read == [(2, "COMPLETE"), (3, "COMPLETE"), (10, "COMPLETE"), *[(10, "CACHED")] * 2]
    (numbered.data / "span-11").mkdir()  # an empty folder
    numbered.arrives("span-12-draft")
    assert numbered.run() == (10, "CACHED")
    numbered.arrives("span-12")
    assert numbered.run() == (12, "COMPLETE")


def test_a_latest_span_whose_files_changed_is_read_again(numbered: Runs) -> None:
    numbered.arrives("span-1")
    assert numbered.run() == (1, "COMPLETE")
    moved = next((numbered.data / "span-1" / "3").iterdir())
    os.replace(moved, numbered.data / "span-1" / "4" / moved.name)  # noqa: PTH105 — same time, size
    assert numbered.run() == (1, "COMPLETE")
    assert numbered.run() == (1, "CACHED")


def test_a_folder_whose_disk_is_gone_is_no_bad_data_and_no_older_span_takes_its_place(
    numbered: Runs, caplog
) -> None:
    logging.get_absl_logger().propagate = True
    for span in (1, 2):
        numbered.arrives(f"span-{span}", start=2 * span)
        assert numbered.run() == (span, "COMPLETE")
    elsewhere = numbered.data.with_name("disk")
    for folder in (numbered.data / "span-2", numbered.data):
        folder.rename(elsewhere)
        folder.mkdir()
        with pytest.raises(ValueError, match=f"The folder {folder} is empty.* [Mm]ount"):
            numbered.run()
        failed = numbered.executions()[-1]
        assert failed.last_known_state == proto.Execution.FAILED
        assert failed.custom_properties["no_data"].int_value == 1
        folder.rmdir()
        elsewhere.rename(folder)
        assert numbered.run() == (2, "CACHED")  # nothing was tried meanwhile
    # Of a new span nobody can say more than that it is empty.
    (numbered.data / "span-3").mkdir()
    assert numbered.run() == (2, "CACHED")
    assert f"The folder {numbered.data}/span-3 is empty" in caplog.text
    # Who removes a span for good removes its folder.
    shutil.rmtree(numbered.data / "span-2")
    assert numbered.run() == (1, "CACHED")


def test_a_corrupt_span_does_not_block_those_after_it(numbered: Runs) -> None:
    numbered.arrives("span-1")
    broken = numbered.data / "span-2" / "cat" / "1.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    assert numbered.run() == (1, "COMPLETE")
    for _ in range(2):  # the latest there is, so it is tried again
        with pytest.raises(ValueError, match="cannot be decoded"):
            numbered.run()
        failed = numbered.executions()[-1]
        assert failed.last_known_state == proto.Execution.FAILED
        assert failed.custom_properties["span"].int_value == 2
    numbered.arrives("span-3")
    numbered.arrives("span-4")
    assert numbered.run() == (3, "COMPLETE")
    assert numbered.run() == (4, "COMPLETE")


def test_one_run_on_other_data_skips_no_span(numbered: Runs) -> None:
    numbered.arrives("span-1")
    assert numbered.run() == (1, "COMPLETE")
    here, numbered.data = numbered.data, numbered.data.with_name("other")
    numbered.arrives("span-99", start=10)
    assert numbered.run() == (99, "COMPLETE")
    numbered.data = here
    numbered.arrives("span-2", start=20)
    numbered.arrives("span-3", start=30)
    assert [numbered.run() for _ in range(2)] == [(2, "COMPLETE"), (3, "COMPLETE")]


def test_a_span_is_read_again_when_the_process_was_killed_at_it(numbered: Runs) -> None:
    numbered.arrives("span-1")
    numbered.arrives("span-2")
    assert numbered.run() == (1, "COMPLETE")
    store, killed = numbered.store, numbered.executions()[-1]
    killed.last_known_state = proto.Execution.RUNNING  # what a SIGKILL leaves behind
    store.put_executions([killed])
    assert numbered.run()[0] == 1
    assert numbered.run() == (2, "COMPLETE")


def test_a_retry_in_the_same_run_stays_at_its_span(numbered: Runs) -> None:
    numbered.arrives("span-1")
    numbered.arrives("span-2")
    image = next((numbered.data / "span-1" / "3").iterdir())
    good = image.read_bytes()
    image.write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be decoded"):
        numbered.retry("of-a-pod")
    image.write_bytes(good)
    numbered.retry("of-a-pod")  # as Kubeflow starts a failed pod again
    (execution,) = numbered.executions()
    assert execution.last_known_state == proto.Execution.COMPLETE
    assert numbered.span(execution) == 1
    assert numbered.run() == (2, "COMPLETE")


def test_without_any_span_the_node_fails_and_says_what_to_do(numbered: Runs) -> None:
    numbered.arrives("span-007")
    with pytest.raises(ValueError, match=r"no span.*\{SPAN:3\}"):
        numbered.run()
    (execution,) = numbered.executions()
    assert execution.last_known_state == proto.Execution.FAILED
    numbered.arrives("span-7")
    assert numbered.run() == (7, "COMPLETE")


def test_days_and_filled_up_numbers(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    days = Runs(tmp_path / "days", images("{YYYY}/{MM}-{DD}/*/*"))
    days.arrives("2026/01-31")
    days.arrives("2025/12-31")
    days.arrives("2026/02-30")  # no such day
    first, second = days.run()[0], days.run()[0]
    assert second - first == 31
    assert days.run() == (second, "CACHED")

    (tmp_path / "numbers").mkdir()
    numbers = Runs(tmp_path / "numbers", images("{SPAN:3}/*/*"))
    numbers.arrives("010")
    numbers.arrives("009")
    assert [numbers.run()[0] for _ in range(3)] == [9, 10, 10]


def test_records_by_version_wait_for_every_split(tmp_path: Path) -> None:
    patterns = {name: f"{{SPAN}}/v{{VERSION}}/{name}/*" for name in ("train", "eval")}
    runs = Runs(
        tmp_path,
        lambda path: RecordExampleGen(path, given_splits(patterns)).with_id("ImportExampleGen"),
    )

    def arrives(folder: str, *splits: str) -> None:
        for split in splits:
            path = runs.data / folder / split / "data.tfrecord"
            path.parent.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row in digits(1):
                    writer.write(make_example(*row).SerializeToString())

    arrives("1/v2", "train", "eval")
    arrives("1/v10", "train", "eval")
    arrives("1/v11", "train")  # still on its way
    arrives("2/v1", "eval")
    assert runs.run() == (1, "COMPLETE")
    assert runs.artifact(runs.executions()[-1]).custom_properties["version"].int_value == 10
    assert runs.run() == (1, "CACHED")
    arrives("1/v11", "eval")
    assert runs.run() == (1, "COMPLETE")
    assert runs.artifact(runs.executions()[-1]).custom_properties["version"].int_value == 11
    arrives("2/v1", "train")
    assert runs.run() == (2, "COMPLETE")


@pytest.mark.parametrize("node", [ImageExampleGen, RecordExampleGen])
def test_the_compiled_pipeline_names_the_driver(tmp_path: Path, node: type[BaseComponent]) -> None:
    ir = Compiler().compile(Runs(tmp_path, node).pipeline())
    spec = runner_utils.extract_custom_driver_spec(
        runner_utils.extract_local_deployment_config(ir), node.__name__
    )
    driver = import_utils.import_class_by_path(spec.class_path)
    assert driver is node.DRIVER_CLASS
    assert issubclass(driver, SpanDriver)


@given(
    fraction=st.sampled_from([0.1, 0.25, 0.5]),
    spans=st.lists(st.lists(st.text(min_size=1, max_size=5), max_size=8), min_size=2, max_size=4),
)
def test_no_class_changes_sides_when_spans_and_classes_are_added(
    fraction: float, spans: list[list[str]]
) -> None:
    """By the function that every ExampleGen divides its input with."""
    config = hash_split(fraction, by="label").split_config
    train, evaluated = (split.hash_buckets for split in config.splits)
    sides: dict[str, int] = {}
    for number, labels in enumerate(spans):
        for place, label in enumerate(labels):
            example = make_example(b"png", label.encode(), f"span-{number}/{place}".encode())
            side = base_example_gen_executor._PartitionFn(
                example, 2, [train, train + evaluated], config
            )
            assert sides.setdefault(label, side) == side
