"""IDX files: what is read, and what each damaged file is told."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from pipeline.datasets.idx import IdxError, read_idx, read_split
from tests.pipeline.datasets.files import digits, idx_bytes, write_idx


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with the bytes \(none\), expected 00 00 08 03"),
        (b"\0\0\x0d\3" + b"\0" * 12, "starts with the bytes 00 00 0d 03"),
        (idx_bytes(np.zeros(5, np.uint8)), "starts with the bytes 00 00 08 01"),
        (b"\0\0\x08\3\0\0\0\1", "8 bytes long, expected a header of 16"),
        (
            idx_bytes(np.zeros((2, 3, 4), np.uint8))[:-1],
            r"23 bytes of values, expected 24 for the shape \[2, 3, 4\]",
        ),
        (idx_bytes(np.zeros((2, 3, 4), np.uint8)) + b"x", "25 bytes of values, expected 24"),
    ],
)
def test_bad_idx_files(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(IdxError, match=message) as error:
        read_idx(path, dimensions=3)
    assert str(path) in str(error.value)


def test_a_truncated_gzip_file(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(digits()[0][:10]))[:-100])
    with pytest.raises(IdxError, match="not a complete gzip file"):
        read_idx(path, dimensions=3)


def test_missing_and_mismatched_files(tmp_path):
    source = write_idx(tmp_path / "idx", compress=False)
    (source / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(99, np.uint8)))
    with pytest.raises(IdxError, match=r"holds 100 images, .*t10k-labels-idx1-ubyte 99 labels"):
        read_split(source, "eval")
    (source / "train-images-idx3-ubyte").unlink()
    with pytest.raises(IdxError, match=r"neither train-images-idx3-ubyte\.gz nor train-images"):
        read_split(source, "train")


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)))
def test_idx_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("idx") / "values.gz"
    path.write_bytes(gzip.compress(idx_bytes(values)))
    np.testing.assert_array_equal(read_idx(path, values.ndim), values)
