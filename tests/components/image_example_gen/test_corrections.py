"""Corrections through the real drivers and executors of the three ExampleGens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.orchestration import data_types

from components.image_example_gen import ImageExampleGen, driver, executor, hash_split
from components.image_example_gen.corrections import Correction, read_corrections
from components.record_example_gen import RecordExampleGen
from components.record_example_gen.executor import Executor as RecordExecutor
from components.sheet_example_gen import SheetExampleGen
from modules.contract import LABEL
from tests.components.image_example_gen.test_image_example_gen import digit, run, write_files
from tests.components.record_example_gen.test_record_example_gen import HALVES, rows, write
from tests.components.sheet_example_gen import test_sheet_example_gen as sheets


def corrections(folder: Path, *lines: str) -> str:
    path = folder / "fixes.csv"
    path.write_text("\n".join(["id,action,value", *lines]) + "\n")
    return str(path)


def counts(examples) -> dict[str, int]:
    names = ("images", "dropped", "relabelled", "unknown_corrections")
    return {name: examples.get_int_custom_property(name) for name in names}


def test_images_are_dropped_and_relabelled_before_they_are_split(tmp_path) -> None:
    write_files(tmp_path / "in", {f"{n % 4}/{n:02d}.png": digit(n) for n in range(40)})
    fixes = corrections(
        tmp_path, "0/00.png,drop,", "1/01.png,relabel,2", '"2/no, such.png",drop,', "gone,relabel,x"
    )
    by_class = hash_split(0.5, by="label")
    node = ImageExampleGen(str(tmp_path / "in"), output_config=by_class, corrections=fixes)
    examples, splits = run(node, tmp_path / "out")
    found = splits["train"] | splits["eval"]
    assert "0/00.png" not in found
    assert found["1/01.png"][LABEL] == b"2"
    assert len(found) == 39
    (with_class,) = (split for split in splits.values() if "2/02.png" in split)
    assert "1/01.png" in with_class  # whole classes stay together
    assert {name: row[LABEL].decode() for name, row in found.items() if name != "1/01.png"} == {
        name: name.split("/")[0] for name in found if name != "1/01.png"
    }
    assert counts(examples) == {
        "images": 39, "dropped": 1, "relabelled": 1, "unknown_corrections": 2,
    }  # fmt: skip
    told = json.loads((tmp_path / "out" / executor.COUNTS_FILE).read_text())["corrections"]
    assert told["first_unknown"] == ["2/no, such.png", "gone"]


def test_records_and_sheets_are_corrected_too(tmp_path) -> None:
    fixes = corrections(tmp_path, "id 3,drop,", "id 4,relabel,other")
    write(tmp_path / "records/a", rows(0, 20))
    node = RecordExampleGen(str(tmp_path / "records"), corrections=fixes, **HALVES)
    examples, splits = run(node, tmp_path / "out", RecordExecutor)
    found = splits["train"] | splits["eval"]
    assert set(found) == {f"id {n}" for n in range(20)} - {"id 3"}
    assert {name for name, row in found.items() if row[LABEL] == b"other"} == {"id 4"}

    table = sheets.write_images(tmp_path / "sheet")
    sheets.write_sheet(tmp_path / "sheet", "csv", table)
    fixes = corrections(tmp_path, "00.png,drop,", "01.png,relabel,other")
    examples, splits = sheets.run(
        SheetExampleGen(str(tmp_path / "sheet"), "csv", corrections=fixes), tmp_path / "read"
    )
    assert "00.png" not in splits["eval"]  # as the column split said
    assert splits["train"]["01.png"][LABEL] == b"other"
    assert splits["train"]["01.png"]["camera"] == b"left"
    assert counts(examples) == {
        "images": len(table) - 1, "dropped": 1, "relabelled": 1, "unknown_corrections": 0,
    }  # fmt: skip


def test_the_content_of_the_file_is_part_of_the_key(tmp_path) -> None:
    write_files(tmp_path / "in", {"a/1.png": digit(0)})

    def key(path: str | None) -> str:
        node = ImageExampleGen(str(tmp_path / "in"), corrections=path)
        return driver.Driver(None).resolve_exec_properties(
            dict(node.exec_properties), data_types.PipelineInfo("p", "r"), None
        )["input_fingerprint"]

    first = key(corrections(tmp_path, "a/1.png,drop,"))
    assert key(str(tmp_path / "fixes.csv")) == first != key(None)
    assert key(corrections(tmp_path, "a/1.png,relabel,b")) != first
    with pytest.raises(ValueError, match=r"nowhere\.csv cannot be read .*\[data\] corrections"):
        key(str(tmp_path / "nowhere.csv"))


def test_a_file_says_what_to_do_with_each_id(tmp_path) -> None:
    path = corrections(tmp_path, '"a, ""b""",drop,', "é,relabel,ü")
    assert read_corrections(path) == {
        b'a, "b"': Correction(None),
        "é".encode(): Correction("ü".encode()),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,value\n", "there is no column action"),
        ("", "there is no column id and action; expected .* found none"),
        ("id,action\na,remove\n", "line 2: the action is 'remove', expected 'drop' or 'relabel'"),
        ("id,action,value\na,drop,b\n", "line 2: action 'drop' takes no value, found 'b'"),
        ("id,action,value\na,relabel,\n", "line 2: action 'relabel' takes the new label as value"),
        ("id,action\na,drop\n,drop\n", "line 3: the id is empty"),
        ("id,action\na,drop\na,drop\n", "line 3: 'a' is corrected twice"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path, text, message) -> None:
    (tmp_path / "fixes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_corrections(str(tmp_path / "fixes.csv"))
