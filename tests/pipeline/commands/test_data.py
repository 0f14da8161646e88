"""The command `data`, on the real digits."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.commands.data import data_command
from pipeline.datasets import EncodedImage, write_dataset
from pipeline.datasets.published import PUBLISHED
from tests.pipeline.datasets.files import digits, pixels, read, write_idx

IMAGE = EncodedImage(b"image", "label", "id")


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


def test_checksums_are_verified(tmp_path):
    source = write_idx(tmp_path / "idx")
    result = invoke("mnist", "--source", source, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "train-images-idx3-ubyte.gz: MD5 " in result.output
    assert f"expected {PUBLISHED['mnist'].md5['train-images-idx3-ubyte']}" in result.output
    assert "use the source `idx`" in result.output
    assert not (tmp_path / "out").exists()


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
