"""Data of which no triplets can be made: what the node says."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from modules.contract import make_example
from tests.components.triplet_gen.triplet_node import make
from tests.real_data import digits, examples_artifact


def write_split(
    root: Path, records: list[bytes], compression="GZIP"
) -> standard_artifacts.Examples:
    artifact = examples_artifact(root, {"train": []}, shards=1)
    (path,) = (root / "Split-train").iterdir()
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return artifact


def without(feature: str, row) -> bytes:
    example = make_example(*row)
    del example.features.feature[feature]
    return example.SerializeToString()


def with_two_labels(row) -> bytes:
    example = make_example(*row)
    example.features.feature["label"].bytes_list.value.append(b"3")
    return example.SerializeToString()


def with_int_label(row) -> bytes:
    example = make_example(*row)
    example.features.feature["label"].int64_list.value.append(3)
    return example.SerializeToString()


def serialized(rows) -> list[bytes]:
    return [make_example(*row).SerializeToString() for row in rows]


PAIRS = digits(2)  # of each digit


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "has no examples. Give it a larger share of the data"),
        (serialized(digits(9, classes=[4])), "all 9 examples have the label '4'.*second class"),
        (serialized(digits(1)), "each of its 10 classes has a single example.*Add images"),
        (serialized(digits(3, classes=range(2))), "its 2 classes are too small to hold out images"),
        (
            [*serialized(PAIRS), without("label", PAIRS[3]), without("label", PAIRS[4])],
            rf"\(label: 2\), such as id '{PAIRS[3][2].decode()}'.*ImageExampleGen",
        ),
        ([*serialized(PAIRS), without("id", PAIRS[0])], r"\(id: 1\), such as record 20 of .*gz"),
        ([without("image", PAIRS[0])], r"\(image: 1\)"),
        (serialized([(b"", b"1", b"a"), *PAIRS]), r"\(image: 1\), such as id 'a'"),
        (
            [*serialized(PAIRS), with_int_label(PAIRS[0])],
            r"unreadable files \(1\), such as .*gz: .*Key: label, Index: 20.*int64.*one bytes",
        ),
        (
            [*serialized(PAIRS), with_two_labels(PAIRS[0])],
            r"unreadable files \(1\), such as .*gz: .*Key: label, Index: 20",
        ),
        (
            [b"no tf.Example"],
            r"-00000-of-00001.gz: Could not parse .*: 'no tf.Example'\. Each must",
        ),
        (
            serialized([*PAIRS, PAIRS[5]]),
            rf"ids are not unique \(1 repeated, such as '{PAIRS[5][2].decode()}'\)",
        ),
        (
            serialized(
                [(b"png", label, i) for label in (b"0", b"1") for i in (b"u", b"v", b"x", b"y")]
            ),
            r"ids are not unique \(4 repeated, such as 'u'\)",
        ),
    ],
)
def test_errors_of_the_data_name_split_place_and_remedy(tmp_path, records, message):
    examples = write_split(tmp_path / "examples", records)
    with pytest.raises(ValueError, match=message) as error:
        make(tmp_path / "out", examples)
    assert "split 'train'" in str(error.value)
    assert f"{tmp_path}/examples/Split-train" in str(error.value)
    assert error.value.__cause__ is None  # nothing of Beam around it
    assert not (tmp_path / "out" / ".tmp").exists()
    assert not (tmp_path / "out" / "triplets.json").exists()


def test_an_id_under_two_labels_is_found_in_any_buckets(tmp_path):
    rows = digits(3)
    copies = [(image, b"%d" % ((int(label) + 1) % 10), i) for image, label, i in rows[::2]]
    examples = examples_artifact(tmp_path / "examples", {"train": rows + copies}, shards=3)
    message = rf"ids are not unique \(15 repeated, such as '{rows[0][2].decode()}'\)"
    with pytest.raises(ValueError, match=message):  # the first id in their order
        make(tmp_path / "out", examples, bucket_size=2)
    assert not list((tmp_path / "out").glob("Split-*/*"))


def test_uncompressed_input_is_an_error(tmp_path):
    examples = write_split(tmp_path / "examples", serialized(PAIRS), compression="")
    message = r"\.gz: inflate\(\) failed with error -3: incorrect header check\. Each must be a gz"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples)


def test_a_split_without_files_is_an_error(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS, "eval": []}, shards=0)
    with pytest.raises(ValueError, match=r"split 'train' .*has no examples"):
        make(tmp_path / "out", examples)


def test_an_unknown_split_is_an_error(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS})
    with pytest.raises(ValueError, match=r"split 'test' is not in .*which has 'train'\. Name one"):
        make(tmp_path / "out", examples, train_split="test")


def test_an_id_in_two_spans_of_a_window_is_refused(tmp_path: Path) -> None:
    rows = digits(4)
    spans = [
        examples_artifact(tmp_path / f"span-{number}", {"train": part})
        for number, part in enumerate((rows, [*digits(4, start=4), rows[7]]))
    ]
    message = rf"span-0.*span-1.*not unique \(1 repeated, such as '{rows[7][2].decode()}'\)"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", spans)
