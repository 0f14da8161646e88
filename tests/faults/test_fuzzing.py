"""Whatever the data and the entry point of a pod are given: an answer, or a message that helps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from components.image_example_gen import Checked, check_image
from components.record_example_gen.reading import _CheckRecord
from kubeflow.node import main as run_node
from modules.contract import make_example
from tests.real_data import digits

IMAGE, LABEL, ID = digits(1)[0]
EXAMPLE = make_example(IMAGE, LABEL, ID).SerializeToString()
MOST_PIXELS = 1_000_000


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes of a good file changed, left out or doubled, and perhaps its end cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not found:
            break
        place = draw(st.integers(0, len(found) - 1))
        match draw(st.sampled_from(["change", "remove", "double"])):
            case "change":
                found[place] = draw(st.integers(0, 255))
            case "remove":
                del found[place : place + draw(st.integers(1, 20))]
            case "double":
                found[place:place] = found[place : place + 20]
    return bytes(found[: draw(st.integers(0, len(found)))] if draw(st.booleans()) else found)


FEATURES = st.dictionaries(
    st.sampled_from(["image", "label", "id", "camera", ""]),
    st.lists(st.binary(max_size=30), max_size=3)
    | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2)
    | st.lists(st.floats(width=32), max_size=2),
    max_size=4,
)


def example(features: dict[str, list]) -> bytes:
    found = tf.train.Example()
    for name, values in features.items():
        feature = found.features.feature[name]
        if all(isinstance(value, bytes) for value in values):
            feature.bytes_list.value.extend(values)
        elif all(isinstance(value, int) for value in values):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return found.SerializeToString()


@settings(max_examples=150)
@given(st.binary(max_size=100) | damaged(IMAGE))
def test_an_image_is_good_or_has_a_fault(content: bytes) -> None:
    checked = check_image(content, MOST_PIXELS)
    assert isinstance(checked, Checked)
    assert (checked.image is None) == bool(checked.fault)
    if checked.fault:
        assert len(checked.fault) < 500
        assert checked.fault.isprintable()


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60) | damaged(EXAMPLE) | FEATURES.map(example), max_size=3))
def test_a_file_of_records_is_read_or_named(records: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/fuzzed.tfrecord"
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
        try:
            found = list(_CheckRecord(f"{folder}/", MOST_PIXELS).process(path.encode()))
        except ValueError as error:
            assert path in str(error)  # noqa: PT017 — either is right
            return
    assert len(found) >= len(records)
    assert all(isinstance(one, tf.train.Example | beam.pvalue.TaggedOutput) for one in found)


@settings(max_examples=40)
@given(damaged(EXAMPLE) | st.binary(max_size=50))
def test_a_damaged_file_of_records_is_read_or_named(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.tfrecord"
        path.write_bytes(content)
        try:
            list(_CheckRecord(f"{folder}/", MOST_PIXELS).process(str(path).encode()))
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 — either is right


@settings(max_examples=30)
@given(content=st.binary(max_size=60), node=st.text(max_size=10))
@pytest.mark.filterwarnings("ignore")
def test_a_pod_that_is_given_nonsense_says_so(content: bytes, node: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run.pb").write_bytes(content)
        arguments = ["--runs", folder, "--run-id", "run", "--metadata", "nonsense://x"]
        done = CliRunner().invoke(run_node, [*arguments, f"--node={node}"])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert "error: " in done.output
