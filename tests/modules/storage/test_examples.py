"""Examples are read as they were written, and what is wrong with a file is said."""

from __future__ import annotations

import random

import pytest
import tensorflow as tf

from modules.contract import make_example
from modules.storage import read_examples


def write(path, rows: list[tuple[bytes, bytes, bytes]], compression: str = "GZIP") -> str:
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            writer.write(make_example(*row).SerializeToString())
    return str(path)


ROWS = [(b"image%d" % i, b"label%d" % (i % 3), b"id%d" % i) for i in range(10)]


@pytest.mark.parametrize("compression", ["GZIP", ""])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_all_rows_in_order(tmp_path, compression, batch_size) -> None:
    files = [
        write(tmp_path / "a", ROWS[:4], compression),
        write(tmp_path / "b", ROWS[4:], compression),
    ]
    found = []
    sizes = []
    for batch in read_examples(files, compression=compression, batch_size=batch_size):
        columns = [batch[name].numpy() for name in ("image", "label", "id")]
        sizes.append(len(columns[0]))
        found += list(zip(*columns, strict=True))
    assert found == ROWS
    assert max(sizes) == min(batch_size, len(ROWS))


def test_a_feature_that_is_not_there(tmp_path) -> None:
    example = make_example(*ROWS[0])
    del example.features.feature["label"]
    with tf.io.TFRecordWriter(str(tmp_path / "a"), "GZIP") as writer:
        writer.write(example.SerializeToString())
    (batch,) = read_examples(str(tmp_path / "a"), absent=b"?")
    assert batch["label"].numpy().tolist() == [b"?"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        list(read_examples(str(tmp_path / "a")))


def test_files_that_are_missing_or_broken(tmp_path) -> None:
    with pytest.raises(tf.errors.NotFoundError):
        list(read_examples(str(tmp_path / "nothing")))
    # Within a record that cannot be compressed: an end between two is no fault to TensorFlow.
    path = write(tmp_path / "a", [*ROWS, (random.Random(0).randbytes(1000), b"label", b"id")])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-500])
    with pytest.raises(tf.errors.DataLossError):
        list(read_examples(path))
