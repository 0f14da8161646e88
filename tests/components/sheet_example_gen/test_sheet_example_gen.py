"""SheetExampleGen through its real executor and driver, on sheets of real digits."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from components.image_example_gen import given_splits, hash_split
from components.sheet_example_gen import SheetExampleGen, driver, executor
from components.sheet_example_gen.cropping import crop
from components.sheet_example_gen.rows import Box
from components.sheet_example_gen.tables import SheetError
from modules.contract import ID, IMAGE, LABEL
from tests.real_data import BEAM_ARGS, digits

ROWS = digits(4, classes=range(5))


def write_images(root: Path) -> list[dict]:
    """The digits as files, and what a sheet says of them."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (image, label, _) in enumerate(ROWS):
        (root / f"{i:02d}.png").write_bytes(image)
        rows.append(
            {
                "path": f"{i:02d}.png",
                "label": f"digit {label.decode()}",
                "split": "eval" if i % 4 == 0 else "train",
                "camera": "left" if i % 2 else "right",
                "sequence": i // 2,
            }
        )
    return rows


def write_sheet(root: Path, kind: str, rows: list[dict]) -> None:
    table = pd.DataFrame(rows)
    path = root / f"sheet.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)


def resolve(node: SheetExampleGen) -> dict:
    return driver.Driver(None).resolve_exec_properties(
        dict(node.exec_properties), data_types.PipelineInfo("p", "r"), None
    )


def run(node: SheetExampleGen, uri: Path):
    """Runs driver and executor as TFX does; returns the artifact and {split: {id: features}}."""
    examples = standard_artifacts.Examples()
    examples.uri = str(uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(uri.with_suffix(".tmp")), unique_id="1"
    )
    executor.Executor(context).Do({}, {"examples": [examples]}, resolve(node))
    splits: dict[str, dict[str, dict]] = {}
    for folder in sorted(uri.glob("Split-*")):
        found = splits[folder.name.removeprefix("Split-")] = {}
        files = [str(file) for file in folder.iterdir()]
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            row = {}
            for name, value in features.items():
                (row[name],) = getattr(value, value.WhichOneof("kind")).value
            found[row[ID].decode()] = row
    return examples, splits


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_column_split_and_all_others_reach_the_examples(tmp_path, kind):
    rows = write_images(tmp_path / "in")
    write_sheet(tmp_path / "in", kind, rows)
    examples, splits = run(SheetExampleGen(str(tmp_path / "in"), kind), tmp_path / "out")
    assert examples.split_names == '["train", "eval"]'
    assert examples.get_int_custom_property("images") == len(ROWS)
    for split, found in splits.items():
        assert sorted(found) == [row["path"] for row in rows if row["split"] == split]
    found = splits["train"] | splits["eval"]
    for (image, _, _), row in zip(ROWS, rows, strict=True):
        sequence = row["sequence"] if kind == "parquet" else str(row["sequence"]).encode()
        assert found[row["path"]] == {
            IMAGE: image,  # byte for byte
            LABEL: row["label"].encode(),
            ID: row["path"].encode(),
            "camera": row["camera"].encode(),
            "sequence": sequence,
        }


def test_distractors_are_told_by_their_label_whatever_the_column_split_says(tmp_path):
    rows = write_images(tmp_path / "in")
    for row in rows[:4]:
        row["label"] = "nobody"
    write_sheet(tmp_path / "in", "csv", rows)
    node = SheetExampleGen(str(tmp_path / "in"), "csv", distractors=["nobody"])
    examples, splits = run(node, tmp_path / "out")
    assert examples.split_names == '["train", "eval", "distractors"]'
    assert sorted(splits["distractors"]) == [row["path"] for row in rows[:4]]
    assert splits["distractors"][rows[0]["path"]]["camera"] == rows[0]["camera"].encode()
    assert examples.get_int_custom_property("images") == len(rows) - 4


@pytest.mark.parametrize("by", ["id", "label"])
def test_the_split_by_hash_is_that_of_folders(tmp_path, by):
    write_sheet(tmp_path / "in", "csv", write_images(tmp_path / "in"))
    node = SheetExampleGen(str(tmp_path / "in"), "csv", output_config=hash_split(0.4, by=by))
    _, splits = run(node, tmp_path / "out")
    assert len(splits["train"] | splits["eval"]) == len(ROWS)
    labels = [{row[LABEL] for row in found.values()} for found in splits.values()]
    assert bool(labels[0] & labels[1]) == (by == "id")
    assert "split" not in next(iter(splits["train"].values()))


def test_a_sheet_for_each_split(tmp_path):
    rows = write_images(tmp_path / "in")
    for name, part in (("train", rows[:15]), ("test", rows[15:])):
        (tmp_path / "in" / f"{name}.csv").write_text(pd.DataFrame(part).to_csv(index=False))
    patterns = given_splits({"train": "train.csv", "eval": "test.csv"})
    _, splits = run(SheetExampleGen(str(tmp_path / "in"), "csv", patterns), tmp_path / "out")
    assert {split: len(found) for split, found in splits.items()} == {"train": 15, "eval": 5}


def test_boxes_are_cut_out_of_the_upright_image(tmp_path):
    root = tmp_path / "in"
    rows = write_images(root)
    pixels = np.asarray(Image.open(io.BytesIO(ROWS[0][0])))
    sideways = Image.fromarray(np.rot90(pixels))  # a quarter against the clock
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter with the clock
    sideways.save(root / "00.png", exif=exif)
    box = {"box_x": 3, "box_y": 5, "box_w": 20, "box_h": 10}
    empty = dict.fromkeys(box, "")
    write_sheet(root, "csv", [rows[0] | box, *(row | empty for row in rows[1:])])
    _, splits = run(SheetExampleGen(str(root), "csv"), tmp_path / "out")
    cut = tf.io.decode_png(splits["eval"]["00.png#3,5,23,15"][IMAGE]).numpy()[:, :, 0]
    np.testing.assert_array_equal(cut, pixels[5:15, 3:23])
    assert splits["train"]["01.png"][IMAGE] == ROWS[1][0]


def test_what_cannot_be_read_is_listed_with_sheet_and_line(tmp_path):
    root = tmp_path / "in"
    rows = write_images(root)
    (root / "03.png").write_bytes(b"no image")
    (root / "05.png").unlink()
    box = {"box_x": 20, "box_y": 0, "box_w": 9, "box_h": 28}
    empty = dict.fromkeys(box, None)
    write_sheet(root, "csv", [row | (box if i == 7 else empty) for i, row in enumerate(rows)])
    node = SheetExampleGen(str(root), "csv", max_undecodable_fraction=0.2)
    examples, splits = run(node, tmp_path / "out")
    assert examples.get_int_custom_property("undecodable") == 3
    assert len(splits["train"] | splits["eval"]) == len(ROWS) - 3
    report = (tmp_path / "out" / "undecodable.txt").read_text().splitlines()
    sheet = f"{root}/sheet.csv"
    assert report[0].startswith(f"{sheet}, line 5: {root}/03.png\t")
    assert (
        report[1]
        == f"{sheet}, line 7: {root}/05.png\tthe file cannot be read (No such file or directory)"
    )
    assert report[2].startswith(f"{sheet}, line 9: {root}/07.png\tthe box of columns 20 to 29")
    assert report[2].endswith("goes beyond the image of 28 × 28 pixels: correct box_x to box_h")
    with pytest.raises(ValueError, match=r"3 of 20 images \(15.00%\)"):
        run(SheetExampleGen(str(root), "csv"), tmp_path / "again")


def test_a_wrong_sheet_stops_the_node_before_anything_is_read(tmp_path):
    root = tmp_path / "in"
    rows = write_images(root)
    rows[4]["label"] = ""
    write_sheet(root, "csv", rows)
    with pytest.raises(SheetError, match=r"sheet.csv, line 6, column label: it is empty"):
        run(SheetExampleGen(str(root), "csv"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_sheet_and_no_row(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "._sheet.csv").write_bytes(b"\0\5\x16\7")  # as macOS leaves them
    node = SheetExampleGen(str(tmp_path / "in"), "csv", output_config=hash_split(0.5))
    with pytest.raises(ValueError, match=r"No sheet in .* with the pattern '\*.csv'"):
        run(node, tmp_path / "out")
    (tmp_path / "in" / "sheet.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match=r"There is no row in .*sheet.csv"):
        run(node, tmp_path / "out")


def test_spans_are_read_one_after_the_other(tmp_path):
    for span in (1, 2):
        root = tmp_path / "in" / f"span-{span}"
        write_sheet(root, "parquet", write_images(root))
    patterns = given_splits({"all": "span-{SPAN}/*.parquet"})
    _, splits = run(SheetExampleGen(str(tmp_path / "in"), "parquet", patterns), tmp_path / "out")
    assert all(name.startswith("span-1/") for found in splits.values() for name in found)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_edited_sheet_and_an_edited_image_are_new_data(tmp_path, kind):
    rows = write_images(tmp_path)
    write_sheet(tmp_path, kind, rows)
    sheet, image = tmp_path / f"sheet.{kind}", tmp_path / "02.png"
    time = (sheet.stat().st_atime_ns, sheet.stat().st_mtime_ns)

    def fingerprint() -> str:
        return resolve(SheetExampleGen(str(tmp_path), kind))["input_fingerprint"]

    first = fingerprint()
    assert fingerprint() == first
    rows[0]["label"], rows[-1]["label"] = rows[-1]["label"], rows[0]["label"]
    write_sheet(tmp_path, kind, rows)
    os.utime(sheet, ns=time)  # neither its time nor its size says it
    second = fingerprint()
    assert second != first
    image.write_bytes(ROWS[3][0])
    third = fingerprint()
    assert third != second
    image.unlink()
    assert fingerprint() != third
    sheet.write_text("no sheet")  # the executor says so
    assert fingerprint()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_cut_keeps_every_pixel(mode):
    pixels = Image.open(io.BytesIO(ROWS[0][0]))
    image = pixels.convert(mode) if mode != "I;16" else Image.fromarray(
        np.asarray(pixels).astype(np.uint16) * 257
    )  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    cut = Image.open(io.BytesIO(crop(buffer.getvalue(), Box(2, 3, 20, 25))))
    expected = image.crop((2, 3, 20, 25))
    assert cut.format == "PNG"
    assert cut.convert("RGBA").tobytes() == expected.convert("RGBA").tobytes()
    if mode == "I;16":
        np.testing.assert_array_equal(np.asarray(cut), np.asarray(expected))


def test_a_cut_of_cmyk_is_in_colour():
    buffer = io.BytesIO()
    Image.open(io.BytesIO(ROWS[0][0])).convert("CMYK").save(buffer, "JPEG")
    cut = Image.open(io.BytesIO(crop(buffer.getvalue(), Box(0, 0, 28, 14))))
    assert (cut.mode, cut.size) == ("RGB", (28, 14))
