"""Reads the rows of sheets with Beam, and the images that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.image_example_gen import (
    CONVERTED,
    IGNORED,
    UNDECODABLE,
    Checked,
    FileFaultError,
    check_image,
    check_regular,
)
from components.sheet_example_gen.cropping import crop
from components.sheet_example_gen.rows import Row, Rows
from components.sheet_example_gen.tables import Format, SheetError, list_sheets, open_table
from modules.contract import make_example
from modules.runtime import shown, work_done
from modules.storage import read_file


def read_rows(
    sheet: str, kind: Format, root: str, splits: Sequence[str], *, labelled: bool = True
) -> Iterator[Row]:
    """Yields the rows of a sheet.

    Args:
        sheet: Its path.
        kind: Of the file.
        root: Folder that ids are relative to.
        splits: What the column `split` may say; empty: the column is not read.
        labelled: Whether each row must have a label.

    Raises:
        SheetError: As `Rows`; or a row is wrong, which is found before anything is read.
    """
    for row in Rows(open_table(sheet, kind), root, splits, labelled=labelled):
        if isinstance(row, str):
            raise SheetError(row)
        yield row


def read_row(row: Row, max_pixels: int) -> Checked:
    """Reads the image of a row.

    Args:
        row: Of a sheet.
        max_pixels: Largest width × height.

    Returns:
        The image, cut to its box, or why there is none.
    """
    try:
        check_regular(row.path)
        checked = check_image(read_file(row.path), max_pixels)
        if checked.image is not None and row.box is not None:
            return checked._replace(image=crop(checked.image, row.box))
        return checked
    except tf.errors.OpError as error:
        return Checked(None, f"the file cannot be read ({error.message})")
    except (FileFaultError, ValueError, OSError) as error:  # of the file, or of the box
        return Checked(None, str(error))


@beam.typehints.with_output_types(tf.train.Example)  # the main output
class _ReadImage(beam.DoFn):
    """Turns a row into an example, in its split's output if it names one, or into a finding."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def process(self, row: Row) -> Iterator[Any]:
        """Yields one element for the row."""
        work_done.add("files")
        checked = read_row(row, self._max_pixels)
        if checked.image is None:
            place = shown(f"{row.place}: {row.path}")
            yield beam.pvalue.TaggedOutput(UNDECODABLE, (place, checked.fault))
            return
        if checked.converted:
            suffix = os.path.splitext(row.path)[1].lower()  # noqa: PTH122 — may be a URI
            yield beam.pvalue.TaggedOutput(CONVERTED, shown(suffix))
        example = make_example(checked.image, row.label.encode(), row.id.encode(), row.further)
        yield example if row.split is None else beam.pvalue.TaggedOutput(row.split, example)


class ReadSheets(beam.PTransform):
    """Pipeline -> PCollection[tf.train.Example], or a dict of those by split.

    Args:
        input_base: Root folder; ids are relative to it.
        pattern: Glob of the sheets below it.
        kind: Of the files.
        max_pixels: Largest width × height of an image.
        splits: What the column `split` may say. Empty: it is not read, and there is one output.
        others: Receives the outputs `undecodable`, pairs (place and path, reason), and `ignored`,
            which is empty, and `images`, all examples, when the transform is applied.
        labelled: Whether each row must have a label.
    """

    def __init__(
        self,
        input_base: str,
        pattern: str,
        kind: Format,
        max_pixels: int,
        splits: Sequence[str],
        others: list[Mapping[str, beam.PCollection]],
        *,
        labelled: bool = True,
    ) -> None:
        super().__init__()
        self._labelled = labelled
        self._root, self._pattern = input_base, pattern
        self._kind, self._max_pixels = kind, max_pixels
        self._splits, self._others = list(splits), others

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection | dict[str, beam.PCollection]:
        """Applies the transform."""
        outputs = (
            pipeline
            | "Pattern" >> beam.Create([self._pattern])
            | "List" >> beam.FlatMap(lambda pattern, base: list_sheets(base, pattern), self._root)
            | "Rows"
            >> beam.FlatMap(
                read_rows, self._kind, self._root, self._splits, labelled=self._labelled
            )
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadImage(self._max_pixels)).with_outputs(
                UNDECODABLE, IGNORED, CONVERTED, *self._splits, main="images"
            )
        )
        splits = {name: outputs[name] for name in self._splits}
        images = list(splits.values()) | "Images" >> beam.Flatten() if splits else outputs["images"]
        findings = {name: outputs[name] for name in (UNDECODABLE, IGNORED, CONVERTED)}
        self._others.append({**findings, "images": images})
        return splits or images
