"""RecordExampleGen through its real executor: TFRecords are checked like image files."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from components.image_example_gen import executor as image_executor, given_splits, hash_split
from components.record_example_gen import RecordExampleGen
from components.record_example_gen.executor import Executor
from modules.contract import IMAGE, LABEL, make_example
from tests.components.image_example_gen.test_image_example_gen import digit, png_declaring, run
from tests.modules.images.image_files import CONVERTED

HALVES = {"input_config": given_splits({"all": "*"}), "output_config": hash_split(0.5, by="id")}
Row = tuple[bytes, bytes, bytes]


def write(path: Path, rows: list[Row], compression: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            writer.write(make_example(*row).SerializeToString())


def rows(start: int, count: int = 10) -> list[Row]:
    return [(digit(i), b"digit", f"id {i}".encode()) for i in range(start, start + count)]


def test_files_of_any_name_are_read_compressed_or_not(tmp_path) -> None:
    write(tmp_path / "in/plain", rows(0))
    write(tmp_path / "in/packed under a plain name", rows(10), "GZIP")
    write(tmp_path / "in/packed.gz", rows(20), "GZIP")
    write(tmp_path / "in/_SUCCESS", [])
    examples, splits = run(
        RecordExampleGen(str(tmp_path / "in"), **HALVES), tmp_path / "out", Executor
    )
    found = {**splits["train"], **splits["eval"]}
    assert {name: row[IMAGE] for name, row in found.items()} == {
        name.decode(): image for image, _, name in rows(0, 30)
    }
    assert examples.get_int_custom_property("images") == 30


def test_bad_images_are_dropped_and_named_with_file_and_id(tmp_path) -> None:
    moving = CONVERTED["bmp palette"](
        tf.random.uniform([9, 7, 4], 0, 256, tf.int32).numpy().astype("uint8"), 0
    )
    bad = [
        (b"no image", b"digit", b"bad 1"),
        (png_declaring(30_000, 30_000), b"digit", b"bad \x1b[31m"),
        (digit(0), b"\xff", b"bad 3"),
    ]
    write(tmp_path / "in/a", [*rows(0, 20), *bad, (moving, b"digit", b"moving")])
    node = RecordExampleGen(str(tmp_path / "in"), max_undecodable_fraction=0.2, **HALVES)
    examples, splits = run(node, tmp_path / "out", Executor)
    found = {**splits["train"], **splits["eval"]}
    assert sorted(found) == sorted([*(name.decode() for *_, name in rows(0, 20)), "moving"])
    assert found["moving"][IMAGE].startswith(b"\x89PNG")
    assert {row[LABEL] for row in found.values()} == {b"digit"}
    assert examples.get_int_custom_property("converted") == 1
    report = (tmp_path / "out" / image_executor.UNDECODABLE_FILE).read_text().splitlines()
    assert report == [
        "a: bad 1\tneither JPEG, PNG, WebP, BMP, GIF, PGM nor PPM by its first bytes",
        "a: bad 3\tits label \\xff is not UTF-8",
        "a: bad \\x1b[31m\tdeclares 30000 × 30000 pixels, more than 50,000,000",
    ]


def test_too_many_bad_images_fail_the_node(tmp_path) -> None:
    write(tmp_path / "in/a", [*rows(0, 9), (b"", b"digit", b"bad")])
    with pytest.raises(ValueError, match=r"1 of 10 images \(10.00%\)"):
        run(RecordExampleGen(str(tmp_path / "in"), **HALVES), tmp_path / "out", Executor)


@pytest.mark.parametrize("what", ["text", "cut", "no example"])
def test_a_file_that_is_no_tfrecord_is_named(what, tmp_path) -> None:
    write(tmp_path / "in/good", rows(0))
    path = tmp_path / "in" / "wrong"
    if what == "no example":
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(b"\xff\xff\xff")
    else:
        good = (tmp_path / "in/good").read_bytes()
        path.write_bytes(b"some text that is long enough" if what == "text" else good[:-9])
    with pytest.raises(Exception, match="in/wrong"):
        run(RecordExampleGen(str(tmp_path / "in"), **HALVES), tmp_path / "out", Executor)


def test_distractors_are_told_by_their_label(tmp_path) -> None:
    background = [(image, b"background", id_) for image, _, id_ in rows(20, 5)]
    write(tmp_path / "in/a", [*rows(0), *background])
    node = RecordExampleGen(str(tmp_path / "in"), distractors=["background"], **HALVES)
    examples, splits = run(node, tmp_path / "out", Executor)
    assert set(splits["distractors"]) == {name.decode() for *_, name in background}
    assert len(splits["train"] | splits["eval"]) == examples.get_int_custom_property("images") == 10
