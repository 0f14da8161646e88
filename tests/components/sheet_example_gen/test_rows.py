"""What the rows of a sheet say, written as CSV and Parquet and read back; and what is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from components.sheet_example_gen.checking import check_sheets
from components.sheet_example_gen.reading import read_rows
from components.sheet_example_gen.rows import BOX, Box
from components.sheet_example_gen.tables import SheetError, open_table

SPLITS = ("train", "eval")
# No line feeds at the ends, since spaces there do not count; no surrogates, which no file has.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@st.composite
def sheets(draw):
    """Rows as they are meant."""
    ids = draw(st.lists(TEXT, min_size=1, max_size=6, unique=True))
    start, size = st.integers(0, 50), st.integers(1, 50)
    return [
        {
            "path": draw(TEXT.filter(lambda text: "\0" not in text and "://" not in text)),
            "label": draw(TEXT),
            "split": draw(st.sampled_from(SPLITS)),
            "id": example_id,
            **dict(zip(BOX, draw(st.tuples(start, start, size, size)), strict=True)),
            "is_query": draw(st.booleans()),
            "camera": draw(st.one_of(st.just(""), TEXT)),
        }
        for example_id in ids
    ]


def write(folder: Path, kind: str, rows: list[dict]) -> str:
    path = folder / f"sheet.{kind}"
    if kind == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


@settings(deadline=None, max_examples=60)
@given(sheets(), st.sampled_from(["csv", "parquet"]))
def test_rows_come_back_as_they_were_meant(tmp_path_factory, rows, kind):
    folder = tmp_path_factory.mktemp("sheet")
    sheet = write(folder, kind, rows)
    check_sheets([sheet], kind, str(folder), [])
    for row, found in zip(rows, read_rows(sheet, kind, str(folder), SPLITS), strict=True):
        path = row["path"]
        if not path.startswith("/"):
            path = f"{folder}/{path.removeprefix('./')}"
        assert (found.path, found.label, found.id) == (path, row["label"], row["id"])
        assert found.split == row["split"]
        x, y, width, height = (row[name] for name in BOX)
        assert found.box == Box(x, y, x + width, y + height)
        assert found.further == {
            "is_query": int(row["is_query"]),
            "camera": row["camera"].encode(),
        }


def parse(folder: Path, text: str | bytes, splits=()) -> list:
    path = folder / "sheet.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(str(path), "csv", str(folder), splits))


def test_what_a_plain_sheet_says(tmp_path):
    rows = parse(
        tmp_path,
        "\ufeffpath, label ,box_x,box_y,box_w,box_h\r\n"  # as Excel writes it
        'a.png, cat ,,,,\r\n"b, c.png",cat,1.4,2,3.4,4\r\n\r\n/abs/d.png,dog,,,,\r\n'
        "gs://bucket/e.png,dog,,,,\r\n",
    )
    assert [row.path for row in rows] == [
        f"{tmp_path}/a.png",
        f"{tmp_path}/b, c.png",
        "/abs/d.png",
        "gs://bucket/e.png",
    ]
    assert [row.id for row in rows] == [
        "a.png", "b, c.png#1,2,5,6", "/abs/d.png", "gs://bucket/e.png",
    ]  # fmt: skip
    assert [row.label for row in rows] == ["cat", "cat", "dog", "dog"]
    assert [row.box for row in rows] == [None, Box(1, 2, 5, 6), None, None]  # edges are rounded
    assert [row.place.rpartition(" ")[2] for row in rows] == ["2", "3", "5", "6"]


def test_ids_are_paths_from_the_root_and_sheets_may_lie_deeper(tmp_path):
    (tmp_path / "day-1").mkdir()
    path = tmp_path / "day-1" / "sheet.csv"
    path.write_text("path,label\n./a.png,x\n")
    (row,) = read_rows(str(path), "csv", f"{tmp_path}/", ())
    assert (row.path, row.id) == (f"{tmp_path}/day-1/a.png", "day-1/a.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Its first line must name the columns"),
        ("path;label\na;b\n", "line 1: the columns are separated by ';'. Separate them by commas"),
        ("path,class\na,b\n", "has no column label, only path, class. Add it"),
        ("path,label,box_x\na,b,1\n", "has no column box_y, box_w, box_h, only .* Add them"),
        ("path,label,label\na,b,c\n", "has the column label twice. Rename one"),
        ("path,label,\na,b,c\n", "column 3 has no name"),
        ("path,label,image\na,b,c\n", "has the column image, a name of the image's"),
        ("path,label\na,b\nc\n", "line 3: 1 cells, but there are 2 columns"),
        ("path,label\na,b,c\n", "line 2: 3 cells, but there are 2 columns"),
        ("path,label\na,\n", "line 2, column label: it is empty; fill it in"),
        (" path,label\n ,b\n", "line 2, column path: it is empty"),
        ('path,label\n"a"b,c\n', "line 2: .* Put a cell with commas, quotes"),
        (b"path,label\na,caf\xe9\n", "line 2 is not UTF-8 .* Save the sheet as UTF-8"),
        ("path,label,is_query\na,b,maybe\n", "line 2, column is_query: 'maybe' is not true"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(SheetError, match=f"{tmp_path}/sheet.csv.*{message}"):
        parse(tmp_path, text)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,3,", "column box_h: it is empty; a box needs all four"),
        ("1,2,0,4", "column box_w: '0' makes an empty box"),
        ("1,2,3,-4", "column box_h: '-4' makes an empty box"),
        ("-1,2,3,4", "column box_x: '-1' is outside the image"),
        ("1,2,3,tall", "column box_h: 'tall' is no number"),
        ("1,nan,3,4", "column box_y: 'nan' is no number"),
    ],
)
def test_a_box_that_is_wrong_is_named(tmp_path, box, message):
    with pytest.raises(SheetError, match=f"line 2, {message}"):
        parse(tmp_path, f"path,label,{','.join(BOX)}\na,b,{box}\n")


def test_a_quoted_cell_may_go_over_lines_and_the_line_is_that_of_its_start(tmp_path):
    rows = parse(tmp_path, 'path,label,note\na,x,"1\n2\n3"\nb,y,z\n')
    assert [row.place.rpartition(" ")[2] for row in rows] == ["2", "5"]
    assert rows[0].further == {"note": b"1\n2\n3"}


def test_the_column_split_is_read_where_it_makes_the_splits(tmp_path):
    text = "path,label,split\na,b,train\nc,d,val\n"
    assert [row.split for row in parse(tmp_path, text)] == [None, None]
    with pytest.raises(SheetError, match="line 3, column split: 'val' is no split, expected 'trai"):
        parse(tmp_path, text, SPLITS)
    with pytest.raises(SheetError, match=r"has no column split, .* \[data\] split = 'hash'"):
        parse(tmp_path, "path,label\na,b\n", SPLITS)


def test_all_faults_are_told_at_once_or_the_first_of_many(tmp_path):
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("path,label\n" + "a,\n" * 12)
    with pytest.raises(SheetError) as error:
        check_sheets([str(sheet)], "csv", str(tmp_path), ())
    assert str(error.value).count("it is empty") == 10
    assert str(error.value).endswith("and 2 more")


def test_a_repeated_id_is_named_with_both_places(tmp_path):
    for name, text in (("one", "path,label\na,x\nb,x\n"), ("two", "path,label\nc,y\nb,y\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    both = [f"{tmp_path}/one.csv", f"{tmp_path}/two.csv"]
    with pytest.raises(SheetError, match=r"two.csv, line 3, column id: 'b' is .*csv, line 3 too"):
        check_sheets(both, "csv", str(tmp_path), ())


def test_a_split_without_rows_is_named(tmp_path):
    (tmp_path / "sheet.csv").write_text("path,label,split\na,x,train\n")
    with pytest.raises(SheetError, match=r"No row of .* is of the split 'eval'"):
        check_sheets([f"{tmp_path}/sheet.csv"], "csv", str(tmp_path), SPLITS)


def test_types_of_parquet_stay(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["a", "b"],
            "label": [7, 8],  # class numbers are names too
            "is_query": [1.0, 0.0],
            "camera": pd.Categorical(["left", "right"]),
            "sequence": [3, 4],
            "night": [True, False],
            "quality": [0.5, 2.0],
            "taken": pd.to_datetime(["2026-01-31", "2026-02-01"]),
        }
    )
    table.to_parquet(tmp_path / "sheet.parquet")
    first, _ = read_rows(f"{tmp_path}/sheet.parquet", "parquet", str(tmp_path), ())
    assert first.label == "7"
    assert first.place.endswith("sheet.parquet, row 1")
    assert first.further == {
        "is_query": 1,
        "camera": b"left",
        "sequence": 3,
        "night": 1,
        "quality": 0.5,
        "taken": b"2026-01-31 00:00:00",
    }


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("sequence", [1, None], "row 2, column sequence: it is empty; fill it in"),
        ("label", [0.5, 1.5], "row 1, column label: 0.5 is no text"),
        ("tags", [["a"], ["b"]], "column tags has values of type list"),
    ],
)
def test_what_is_wrong_in_parquet_is_named(tmp_path, column, values, message):
    table = pd.DataFrame({"path": ["a", "b"], "label": ["x", "y"]})
    kind = "Int64" if column == "sequence" else None
    table[column] = pd.Series(values, dtype=kind)
    table.to_parquet(tmp_path / "sheet.parquet")
    with pytest.raises(SheetError, match=message):
        list(read_rows(f"{tmp_path}/sheet.parquet", "parquet", str(tmp_path), ()))


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "sheet.parquet").write_text("path,label\n")
    with pytest.raises(SheetError, match="is no Parquet file"):
        open_table(f"{tmp_path}/sheet.parquet", "parquet")
