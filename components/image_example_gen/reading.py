"""Reads image files with Beam and checks that each can be decoded."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from PIL import ImageFile, JpegImagePlugin, PngImagePlugin

from modules.contract import make_example
from modules.runtime import work_done
from modules.storage import read_file

UNDECODABLE, IGNORED = "undecodable", "ignored"
_SUFFIXES = (".jpg", ".jpeg", ".png")


def find_fault(image: bytes, max_pixels: int) -> str | None:
    """Tells why an encoded image cannot be used.

    Args:
        image: The content of the file.
        max_pixels: Largest width × height; checked in the header, before anything is decoded.

    Returns:
        The reason in words, None for a good JPEG or PNG.
    """
    if not image:
        return "the file is empty"
    read_header: type[ImageFile.ImageFile]
    if image.startswith(b"\xff\xd8\xff"):
        read_header = JpegImagePlugin.JpegImageFile
    elif image.startswith(b"\x89PNG\r\n\x1a\n"):
        read_header = PngImagePlugin.PngImageFile
    else:
        return "neither JPEG nor PNG by its first bytes"
    try:
        # The plugin itself, as PIL.Image.open adds a size limit of its own to the header.
        width, height = read_header(io.BytesIO(image)).size
    except Exception as error:
        return f"broken header ({error})"
    if width * height > max_pixels:
        return f"declares {width} × {height} pixels, more than {max_pixels:,}"
    try:
        # The kernel behind tf.io.decode_image, with which the images are decoded later on.
        tf.raw_ops.DecodeImage(contents=image, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        return re.sub(r"^{{.*?}} | \[Op:.*", "", error.message)
    return None


@beam.typehints.with_output_types(tf.train.Example)  # the main output
class _ReadImage(beam.DoFn):
    """Turns a path into an example, or into an element of one of the two other outputs."""

    def __init__(self, root: str, max_pixels: int) -> None:
        self._root = root
        self._max_pixels = max_pixels

    def process(self, path: str) -> Iterator[Any]:
        """Yields one element for the file."""
        work_done.add("files")
        example_id = path.removeprefix(self._root)
        parts = example_id.split("/")
        suffix = os.path.splitext(parts[-1])[1].lower()  # noqa: PTH122 — may be a URI
        if suffix not in _SUFFIXES or any(part.startswith(".") for part in parts):
            yield beam.pvalue.TaggedOutput(IGNORED, suffix)
            return
        image = read_file(path)
        fault = find_fault(image, self._max_pixels)
        if fault is None:
            yield make_example(image, parts[-2].encode(), example_id.encode())
        else:
            yield beam.pvalue.TaggedOutput(UNDECODABLE, (example_id, fault))


def _list(pattern: str) -> list[str]:
    paths: list[str] = tf.io.gfile.glob(pattern)
    work_done.expect("files", len(paths))
    return paths


class ReadImages(beam.PTransform):
    """Reads the images below a folder: Pipeline -> PCollection[tf.train.Example].

    Args:
        input_base: Root folder; ids are relative to it.
        pattern: Glob below it; the last two parts are the class and the file.
        max_pixels: Largest width × height of an image.
        others: Receives the outputs `undecodable`, pairs (id, reason), and `ignored`, the suffix
            of each file that is not read, when the transform is applied.
    """

    def __init__(
        self,
        input_base: str,
        pattern: str,
        max_pixels: int,
        others: list[beam.pvalue.DoOutputsTuple],
    ) -> None:
        super().__init__()
        self._root = f"{input_base.rstrip('/')}/"
        self._pattern = pattern
        self._max_pixels = max_pixels
        self._others = others

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Applies the transform."""
        outputs = (
            pipeline
            | "Pattern" >> beam.Create([self._root + self._pattern])
            # TensorFlow's file layer, as in the driver's fingerprint: both see the same files.
            | "List" >> beam.FlatMap(_list)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadImage(self._root, self._max_pixels)).with_outputs(
                UNDECODABLE, IGNORED, main="images"
            )
        )
        self._others.append(outputs)
        return outputs["images"]
