"""The driver of SheetExampleGen: decides whether its input has changed since the last run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import tensorflow as tf

from components.sheet_example_gen.rows import Row, Rows
from components.sheet_example_gen.tables import (
    Format,
    SheetError,
    list_sheets,
    open_file,
    open_table,
)
from components.spans import SpanDriver, SpanInputProcessor


class SheetInputProcessor(SpanInputProcessor):
    """Adds the content of the sheets, and size and time of the images that they name."""

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Returns TFX's fingerprint and the SHA-256 of sheets and images."""
        digest = hashlib.sha256()
        for _, pattern in self.patterns(span, version):
            for sheet in list_sheets(self._input_base_uri, pattern):
                with open_file(sheet) as file:
                    content = hashlib.file_digest(file, "sha256").digest()
                digest.update(sheet.encode() + b"\0" + content)
                for path in _images(sheet):
                    digest.update(f"{path}\0{_state(path)}\0".encode())
        return f"{super().get_input_fingerprint(span, version)}\nsheets:{digest.hexdigest()}"


def _images(sheet: str) -> Iterator[str]:
    """Paths of the images; of a sheet that is wrong as far as it goes: the executor says why."""
    with open_file(sheet) as file:
        kind: Format = "parquet" if file.read(4) == b"PAR1" else "csv"
    try:
        for row in Rows(open_table(sheet, kind), "", (), labelled=False):
            if isinstance(row, Row):
                yield row.path
    except SheetError:
        return


def _state(path: str) -> str:
    try:
        found = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return "missing"
    return f"{found.length} {found.mtime_nsec}"


class Driver(SpanDriver):
    """The driver that reads span by span, with `SheetInputProcessor`."""

    INPUT_PROCESSOR = SheetInputProcessor
