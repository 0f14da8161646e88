"""Reads the rows of sheets with Beam, and the images that they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.image_example_gen import (
    CONVERTED,
    IGNORED,
    UNDECODABLE,
    Checked,
    check_file,
)
from components.sheet_example_gen.cropping import crop
from components.sheet_example_gen.rows import Row, Rows
from components.sheet_example_gen.tables import Format, SheetError, list_sheets, open_table
from modules.contract import make_example
from modules.runtime import shown, work_done


def read_rows(sheet: str, kind: Format, root: str, splits: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a sheet.

    Args:
        sheet: Its path.
        kind: Of the file.
        root: Folder that ids are relative to.
        splits: What the column `split` may say; empty: the column is not read.

    Raises:
        SheetError: As `Rows`; or a row is wrong, which is found before anything is read.
    """
    for row in Rows(open_table(sheet, kind), root, splits):
        if isinstance(row, str):
            raise SheetError(row)
        yield row


@beam.typehints.with_output_types(tf.train.Example)  # the main output
class _ReadImage(beam.DoFn):
    """Turns a row into an example, also in its split's output if it names one, or into a fault."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def process(self, row: Row) -> Iterator[Any]:
        """Yields one element for the row."""
        work_done.add("files")
        checked = check_file(row.path, self._max_pixels)
        if checked.image is not None and row.box is not None:
            try:
                checked = checked._replace(image=crop(checked.image, row.box))
            except (ValueError, OSError) as error:
                checked = Checked(None, str(error))
        if checked.image is None:
            found = (f"{row.place}: {shown(row.path)}", checked.fault)
            yield beam.pvalue.TaggedOutput(UNDECODABLE, found)
            return
        if checked.converted:
            yield beam.pvalue.TaggedOutput(CONVERTED, Path(row.path).suffix.lower())
        example = make_example(checked.image, row.label.encode(), row.id.encode(), row.further)
        yield example
        if row.split is not None:
            yield beam.pvalue.TaggedOutput(row.split, example)


class ReadSheets(beam.PTransform):
    """Pipeline -> PCollection[tf.train.Example], or a dict of those by split.

    Args:
        input_base: Root folder; ids are relative to it.
        pattern: Glob of the sheets below it.
        kind: Of the files.
        max_pixels: Largest width × height of an image.
        splits: What the column `split` may say. Empty: it is not read, and there is one output.
        others: Receives the outputs `images`, `undecodable`, pairs (place and path, reason),
            `converted`, the suffixes of files that became a PNG, and `ignored`, which is empty,
            when the transform is applied.
    """

    def __init__(
        self,
        input_base: str,
        pattern: str,
        kind: Format,
        max_pixels: int,
        splits: Sequence[str],
        others: list[beam.pvalue.DoOutputsTuple],
    ) -> None:
        super().__init__()
        self._root, self._pattern = input_base, f"{input_base.rstrip('/')}/{pattern}"
        self._kind, self._max_pixels = kind, max_pixels
        self._splits, self._others = list(splits), others

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection | dict[str, beam.PCollection]:
        """Applies the transform."""
        outputs = (
            pipeline
            | "Pattern" >> beam.Create([self._pattern])
            | "List" >> beam.FlatMap(list_sheets)
            | "Rows" >> beam.FlatMap(read_rows, self._kind, self._root, self._splits)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadImage(self._max_pixels)).with_outputs(
                UNDECODABLE, IGNORED, CONVERTED, *self._splits, main="images"
            )
        )
        self._others.append(outputs)
        if self._splits:
            return {name: outputs[name] for name in self._splits}
        return outputs["images"]
