"""Reads sheets, CSV and Parquet, row by row, in memory that does not grow with them."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pyarrow import parquet

from components.spans import list_files
from modules.storage import SeekableFile

Format = Literal["csv", "parquet"]
Cell = str | bytes | int | float | None  # a bool is an int
_BATCH = 4096  # rows of a Parquet file at once
_BOM = "\ufeff"


class SheetError(ValueError):
    """A sheet that cannot be used; the message names sheet, place, column, cause and remedy."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A sheet that is being read.

    Attributes:
        name: Its path.
        unit: What its rows are counted in: "line" of the file for CSV, "row" for Parquet, from 1.
        columns: Their names.
        numeric: Those whose cells are numbers.
        rows: Number and cells of each row. Of CSV every cell is text; of Parquet None is empty.
    """

    name: str
    unit: str
    columns: list[str]
    numeric: frozenset[str]
    rows: Iterator[tuple[int, list[Cell]]]

    def place(self, number: int, column: str | None = None) -> str:
        """Where something is, as messages say it."""
        return f"{self.name}, {self.unit} {number}" + (f", column {column}" if column else "")


def list_sheets(base: str, pattern: str) -> list[str]:
    """The sheets below a folder that match a glob, in order; hidden files are none."""
    found = list_files(base, pattern)
    return [path for path in found if not path.rpartition("/")[2].startswith(".")]


def open_table(path: str, kind: Format) -> Table:
    """Opens a sheet.

    Args:
        path: Local, or a URI that TensorFlow can read.
        kind: Of the file.

    Raises:
        SheetError: Here, or while the rows are read: the file is not of this kind, has no header,
            or is not UTF-8.
        tf.errors.OpError: The file cannot be read.
    """
    return _open_csv(path) if kind == "csv" else _open_parquet(path)


def open_file(path: str) -> io.BufferedReader:
    """Opens a file that TensorFlow can read."""
    return io.BufferedReader(SeekableFile(path), 1 << 20)


def _open_csv(path: str) -> Table:
    # Python's reader, since it tells the line of every row; Arrow's does not.
    reader = csv.reader(_lines(path), strict=True)
    header = _next(reader, path)
    if header is None:
        raise SheetError(f"{path} is empty. Its first line must name the columns: path,label")
    columns = [name.strip() for name in header]
    if len(columns) == 1 and (other := next((c for c in ";\t|" if c in columns[0]), None)):
        raise SheetError(
            f"{path}, line 1: the columns are separated by {other!r}. Separate them by commas."
        )

    def rows() -> Iterator[tuple[int, list[Cell]]]:
        line = reader.line_num + 1  # a quoted cell may go over several lines
        while (cells := _next(reader, path)) is not None:
            if cells:  # an empty line is no row
                yield line, list(cells)
            line = reader.line_num + 1

    return Table(path, "line", columns, frozenset(), rows())


def _lines(path: str) -> Iterator[str]:
    with open_file(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise SheetError(
                    f"{path}, line {number} is not UTF-8 ({error.reason} at byte "
                    f"{error.start + 1}). Save the sheet as UTF-8."
                ) from error
            yield text.removeprefix(_BOM) if number == 1 else text


def _next(reader: Any, path: str) -> list[str] | None:
    """The next row; None behind the last."""
    try:
        return next(reader, None)
    except csv.Error as error:
        raise SheetError(
            f"{path}, line {reader.line_num}: {error}. Put a cell with commas, quotes or line "
            'breaks into quotes, and write a quote in it twice: "a ""b"", c"'
        ) from error


def _open_parquet(path: str) -> Table:
    try:
        file = parquet.ParquetFile(open_file(path))
    except pa.ArrowInvalid as error:
        raise SheetError(f"{path} is no Parquet file ({error}). Write it again.") from error
    schema = file.schema_arrow
    for field in schema:
        if not _is_plain(field.type):
            raise SheetError(
                f"{path}, column {field.name} has values of type {field.type}. Make them text or "
                "numbers, or leave the column out."
            )

    def rows() -> Iterator[tuple[int, list[Cell]]]:
        number = 1
        for batch in file.iter_batches(_BATCH):
            columns = [_values(column) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                yield number, list(cells)
                number += 1

    numeric = frozenset(field.name for field in schema if _is_number(field.type))
    return Table(path, "row", list(schema.names), numeric, rows())


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    raw = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return text or raw or _is_number(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind)


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _values(column: pa.Array) -> list[Cell]:
    values = column.to_pylist()
    if pa.types.is_temporal(column.type):
        return [None if value is None else str(value) for value in values]
    return values
