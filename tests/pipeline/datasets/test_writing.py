"""A data set is written as a whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.datasets import EncodedImage, SplitSummary, encode_png, write_dataset
from tests.pipeline.datasets.files import digits, read


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
