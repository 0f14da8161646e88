"""What the rows of a sheet say.

| column                 | meaning                                                         |
|------------------------|-----------------------------------------------------------------|
| `path`                 | of the image: from the sheet's folder, absolute, or a URI       |
| `label`                | the class name, not empty; may be missing where none is needed  |
| `split`                | `train` or `eval`; read where the column makes the splits       |
| `id`                   | unique; default: the path, and the box if there is one          |
| `box_x`, `box_y`,      | what to cut out, in pixels of the upright image: left, top,     |
| `box_w`, `box_h`       | width, height; all empty: the whole image                       |
| `is_query`,            | true, false, 1 or 0; empty is false                             |
| `is_gallery`           |                                                                 |
| any other              | a feature: text; of Parquet whole numbers and floats too        |

Spaces around a text do not count. CSV has no types, so further columns of it are text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from components.sheet_example_gen.tables import Cell, Format, SheetError, Table, open_table
from modules.contract import ID, IMAGE, IS_GALLERY, IS_QUERY, LABEL, Value

PATH, SPLIT = "path", "split"
BOX = ("box_x", "box_y", "box_w", "box_h")
FLAGS = (IS_QUERY, IS_GALLERY)
_BOOLEANS = {"true": 1, "1": 1, "false": 0, "0": 0, "": 0}
_INT64 = range(-(1 << 63), 1 << 63)


class Box(NamedTuple):
    """A part of an image in pixels; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int


class Row(NamedTuple):
    """One image of a sheet.

    Attributes:
        place: Sheet and line, for messages.
        path: Where the image is.
        id: Unique.
        label: Class name.
        split: Where the column says it, else None.
        box: What to cut out; None for the whole image.
        further: Features by name.
    """

    place: str
    path: str
    id: str
    label: str
    split: str | None
    box: Box | None
    further: dict[str, Value]


def feature_names(sheet: str, kind: Format) -> set[str]:
    """The columns of a sheet that are features of its examples; reads its header only.

    Raises:
        SheetError: It is not of this kind, or has no header.
    """
    return {*open_table(sheet, kind).columns, ID} - {PATH, SPLIT, *BOX}


class Rows:
    """The rows of a table.

    Args:
        table: The sheet.
        root: Folder that ids are relative to.
        splits: What the column `split` may say; empty: the column is not read.
        labelled: Whether each row must have a label; else it may be empty, also by having no
            column.

    Raises:
        SheetError: A column is missing, unnamed, there twice, or has a name that means another
            thing in the examples.
    """

    def __init__(
        self, table: Table, root: str, splits: Sequence[str], *, labelled: bool = True
    ) -> None:
        self._table, self._splits, self._labelled = table, splits, labelled
        self._root = f"{root.rstrip('/')}/"
        self._check_columns()
        known = {PATH, LABEL, ID, SPLIT, *BOX, *FLAGS}
        self._further = [name for name in table.columns if name not in known]

    def __iter__(self) -> Iterator[Row | str]:
        """Yields each row, or what is wrong with it in words."""
        columns = self._table.columns
        for number, cells in self._table.rows:
            if len(cells) != len(columns):
                yield (
                    f"{self._table.place(number)}: {len(cells)} cells, but there are "
                    f"{len(columns)} columns; put a cell with commas into quotes"
                )
                continue
            try:
                yield self._parse(number, dict(zip(columns, cells, strict=True)))
            except _CellError as error:
                yield f"{self._table.place(number, error.column)}: {error}"

    def _check_columns(self) -> None:
        name, columns = self._table.name, self._table.columns
        wanted = [PATH, *([LABEL] if self._labelled else []), *([SPLIT] if self._splits else [])]
        if any(one in columns for one in BOX):
            wanted += BOX
        if missing := [one for one in wanted if one not in columns]:
            hint = "" if SPLIT not in missing else (
                ", or let the split be made by hash: [data] split = 'hash' or 'class_disjoint'"
            )  # fmt: skip
            raise SheetError(
                f"{name} has no column {', '.join(missing)}, only {', '.join(columns)}. Add "
                f"{'it' if len(missing) == 1 else 'them'}{hint}."
            )
        if "" in columns:
            raise SheetError(
                f"{name}, column {columns.index('') + 1} has no name. Name it, or leave it out."
            )
        if twice := sorted({one for one in columns if columns.count(one) > 1}):
            raise SheetError(f"{name} has the column {twice[0]} twice. Rename one of them.")
        if taken := [one for one in columns if one == IMAGE or one.startswith(f"{IMAGE}/")]:
            raise SheetError(f"{name} has the column {taken[0]}, a name of the image's. Rename it.")

    def _parse(self, number: int, cells: dict[str, Cell]) -> Row:
        written = _text(cells, PATH)
        label = _text(cells, LABEL) if self._labelled else _plain(cells, LABEL)
        path = self._locate(written)
        box = _box(cells) if BOX[0] in cells else None
        of_image = path.removeprefix(self._root)
        example_id = of_image if box is None else f"{of_image}#{','.join(map(str, box))}"
        split = None
        if self._splits:
            split = _text(cells, SPLIT)
            if split not in self._splits:
                raise _CellError(SPLIT, f"{split!r} is no split, expected {_either(self._splits)}")
        further: dict[str, Value] = {
            **{flag: _flag(cells, flag) for flag in FLAGS if flag in cells},
            **{name: self._feature(cells, name) for name in self._further},
        }
        return Row(
            place=self._table.place(number),
            path=path,
            id=_text(cells, ID) if ID in cells else example_id,
            label=label,
            split=split,
            box=box,
            further=further,
        )

    def _feature(self, cells: dict[str, Cell], column: str) -> Value:
        value = cells[column]
        if value is None and column in self._table.numeric:
            raise _CellError(column, "it is empty; fill it in, or leave the column out")
        if isinstance(value, float):
            return value
        if isinstance(value, int):  # a bool too
            if value not in _INT64:
                raise _CellError(column, f"{value} does not fit into 64 bits; make the column text")
            return int(value)
        return _plain(cells, column).encode()

    def _locate(self, path: str) -> str:
        if "://" in path or path.startswith("/"):
            return path
        folder = self._table.name.rpartition("/")[0]
        return f"{folder}/{path.removeprefix('./')}"


class _CellError(ValueError):
    """What is wrong with a cell, and what to do."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def _either(values: Sequence[str]) -> str:
    return " or ".join(map(repr, values))


def _plain(cells: dict[str, Cell], column: str) -> str:
    """A cell as text, '' where it is empty or not there."""
    value = cells.get(column)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise _CellError(column, "the text is not UTF-8; write it as UTF-8") from error
    if isinstance(value, bool | float):
        raise _CellError(column, f"{value} is no text; make the column one of text")
    return "" if value is None else str(value).strip()


def _text(cells: dict[str, Cell], column: str) -> str:
    value = _plain(cells, column)
    if not value:
        raise _CellError(column, "it is empty; fill it in, or remove the row")
    return value


def _flag(cells: dict[str, Cell], column: str) -> int:
    value = cells[column]
    if isinstance(value, float) and value in (0, 1):  # what pandas makes of whole numbers
        value = int(value)
    if isinstance(value, bool):
        return int(value)
    if (found := _BOOLEANS.get(_plain({column: value}, column).lower())) is None:
        raise _CellError(column, f"{value!r} is not true, false, 1 or 0; correct it")
    return found


def _box(cells: dict[str, Cell]) -> Box | None:
    empty = [name for name in BOX if cells[name] is None or str(cells[name]).strip() == ""]
    if len(empty) == len(BOX):
        return None
    if empty:
        raise _CellError(empty[0], "it is empty; a box needs all four, or none for the whole image")
    x, y, width, height = (_number(cells, name) for name in BOX)
    # The edges are rounded, so boxes that touch still do.
    box = Box(round(x), round(y), round(x + width), round(y + height))
    for name, start, stop in ((BOX[2], box.left, box.right), (BOX[3], box.top, box.bottom)):
        if stop <= start:
            raise _CellError(name, f"{cells[name]!r} makes an empty box; it must be above 0")
    for name, start in ((BOX[0], box.left), (BOX[1], box.top)):
        if start < 0:
            raise _CellError(name, f"{cells[name]!r} is outside the image; it must not be negative")
    return box


def _number(cells: dict[str, Cell], column: str) -> float:
    value = cells[column]
    try:
        number = float(value)  # type: ignore[arg-type]  # what it does not take, it refuses
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise _CellError(column, f"{value!r} is no number; give pixels")
    return number
