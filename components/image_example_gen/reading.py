"""Reads image files with Beam and checks that each can be decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.image_example_gen.faults import Checked, check_image
from components.image_example_gen.files import SUFFIXES, FileFaultError, check_regular
from components.spans import list_files
from modules.contract import make_example
from modules.runtime import shown, work_done
from modules.storage import read_file

UNDECODABLE, IGNORED, CONVERTED = "undecodable", "ignored", "converted"


def _read(path: str) -> bytes:
    check_regular(path)
    try:
        return read_file(path)
    except tf.errors.OpError as error:
        raise FileFaultError(f"the file cannot be read ({error.message})") from error


@beam.typehints.with_output_types(tf.train.Example)  # the main output
class _ReadImage(beam.DoFn):
    """Turns a path into an example, or into an element of one of the other outputs."""

    def __init__(self, root: str, max_pixels: int) -> None:
        self._root = root
        self._max_pixels = max_pixels

    def process(self, encoded_path: bytes) -> Iterator[Any]:
        """Yields one element for the file, and one more if its image was converted."""
        work_done.add("files")
        path = os.fsdecode(encoded_path)
        example_id = path.removeprefix(self._root)
        parts = example_id.split("/")
        suffix = os.path.splitext(parts[-1])[1].lower()  # noqa: PTH122 — may be a URI
        if suffix not in SUFFIXES or any(part.startswith(".") for part in parts):
            yield beam.pvalue.TaggedOutput(IGNORED, shown(suffix))
            return
        try:
            # Without a folder there is no class.
            names = [part.encode() for part in (example_id, parts[-2] if parts[1:] else "")]
        except UnicodeEncodeError:  # it has bytes that are no UTF-8
            reason = "the name of the file or of its class is not UTF-8"
            yield beam.pvalue.TaggedOutput(UNDECODABLE, (shown(example_id), reason))
            return
        try:
            checked = check_image(_read(path), self._max_pixels)
        except FileFaultError as error:
            checked = Checked(None, str(error))
        if checked.image is None:
            yield beam.pvalue.TaggedOutput(UNDECODABLE, (shown(example_id), checked.fault))
            return
        if checked.converted:
            yield beam.pvalue.TaggedOutput(CONVERTED, suffix)
        yield make_example(checked.image, names[1], names[0])


def _list(pattern: str, base: str) -> list[bytes]:
    paths = list_files(base, pattern)
    work_done.expect("files", len(paths))
    return [os.fsencode(path) for path in paths]


class ReadImages(beam.PTransform):
    """Reads the images below a folder: Pipeline -> PCollection[tf.train.Example].

    Args:
        input_base: Root folder; ids are relative to it.
        pattern: Glob below it; the last two parts are the class and the file.
        max_pixels: Largest width × height of an image.
        others: Receives the outputs `undecodable`, pairs (id, reason), and `ignored` and
            `converted`, the suffix of each file that is not read or became a PNG, when the
            transform is applied.
    """

    READ_FILE: type[beam.DoFn] = _ReadImage  # of root and max_pixels; another reader has its own

    def __init__(
        self,
        input_base: str,
        pattern: str,
        max_pixels: int,
        others: list[beam.pvalue.DoOutputsTuple],
    ) -> None:
        super().__init__()
        self._base = input_base.rstrip("/")
        self._pattern = pattern
        self._max_pixels = max_pixels
        self._others = others

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Applies the transform."""
        outputs = (
            pipeline
            | "Pattern" >> beam.Create([self._pattern])
            # As in the driver's fingerprint: both see the same files.
            | "List" >> beam.FlatMap(type(self).list_paths, self._base)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(type(self).READ_FILE(f"{self._base}/", self._max_pixels)).with_outputs(
                UNDECODABLE, IGNORED, CONVERTED, main="images"
            )
        )
        self._others.append(outputs)
        return outputs["images"]

    @staticmethod
    def list_paths(pattern: str, base: str) -> list[bytes]:
        """The files to read."""
        return _list(pattern, base)
