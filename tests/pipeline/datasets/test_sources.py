"""The data sets by name, on real digits."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import pipeline.datasets
from pipeline.datasets import load_dataset
from pipeline.datasets.idx import IdxError
from pipeline.datasets.published import PUBLISHED
from tests.pipeline.datasets.files import idx_bytes, write_idx


def test_the_sample_split_is_fixed():
    # Another choice would move images from the train split of earlier runs to the eval split.
    rows = [
        example_id.removeprefix("mnist-sample/")
        for example_id in load_dataset("mnist-sample")["eval"].ids
    ]
    assert rows[:5] == ["00003", "00015", "00019", "00020", "00026"]
    assert rows[-3:] == ["04976", "04977", "04985"]


def test_fashion_mnist_has_class_names_and_mnist_digits(tmp_path):
    source = write_idx(tmp_path / "idx", compress=False)  # no published checksum when unpacked
    fashion = load_dataset("fashion-mnist", source)["train"]
    digit = load_dataset("mnist", source)["train"]
    assert fashion.labels == [
        PUBLISHED["fashion-mnist"].classes[int(label)] for label in digit.labels
    ]
    assert fashion.ids[7] == "fashion-mnist/train/00007"
    assert len(set(fashion.labels)) == 10


def test_a_label_without_a_name(tmp_path):
    source = write_idx(tmp_path / "idx", compress=False)
    labels = np.arange(100, dtype=np.uint8)
    (source / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(IdxError, match="mnist, eval: label 99 found, expected 0 to 9"):
        load_dataset("mnist", source)
    assert load_dataset("idx", source)["eval"].labels[99] == "99"


def test_the_example_of_the_package():
    assert doctest.testmod(pipeline.datasets).failed == 0
