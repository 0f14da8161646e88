"""Reads TFRecord files of tf.Examples with Beam, and checks their images."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from google.protobuf.message import DecodeError

from components.image_example_gen import (
    CONVERTED,
    UNDECODABLE,
    Checked,
    FileFaultError,
    ReadImages,
    check_image,
    check_regular,
)
from components.spans import list_files
from modules.contract import ID, IMAGE, LABEL
from modules.runtime import shown, work_done
from modules.storage import SeekableFile

_AROUND_RECORD = 16  # bytes: the length of a record, and two checksums
_PIECE = 1 << 20  # bytes


@beam.typehints.with_output_types(tf.train.Example)  # the main output
class _CheckRecord(beam.DoFn):
    """Turns a file into its examples, and into elements of the other outputs."""

    def __init__(self, root: str, max_pixels: int) -> None:
        self._root = root
        self._max_pixels = max_pixels

    def process(self, encoded_path: bytes) -> Iterator[Any]:
        """Yields one element for each record."""
        path = os.fsdecode(encoded_path)
        name = path.removeprefix(self._root)
        for number, record in enumerate(read_records(path)):
            try:
                example = tf.train.Example.FromString(record)
            except DecodeError as error:
                raise ValueError(
                    f"Record {number} of {shown(path)} is no tf.Example. Remove the file, or "
                    "correct the pattern if it is no data."
                ) from error
            work_done.add("records")
            ids = _values(example, ID)
            which = f"{shown(name)}: {shown(ids[0]) if ids else f'record {number}'}"
            checked = _check(example, self._max_pixels)
            if checked.fault:
                yield beam.pvalue.TaggedOutput(UNDECODABLE, (which, checked.fault))
                continue
            if checked.converted:
                example.features.feature[IMAGE].bytes_list.value[:] = [checked.image]
                yield beam.pvalue.TaggedOutput(CONVERTED, "record")
            yield example


def _check(example: tf.train.Example, max_pixels: int) -> Checked:
    """What of the contract is not there at all is for ExampleValidator to say."""
    for name in (LABEL, ID):
        for value in _values(example, name):
            try:
                value.decode()
            except UnicodeDecodeError:
                return Checked(None, f"its {name} {shown(value)} is not UTF-8")
    images = _values(example, IMAGE)
    return check_image(images[0], max_pixels) if len(images) == 1 else Checked(None)


def _values(example: tf.train.Example, name: str) -> list[bytes]:
    features = example.features.feature  # to ask for a name would make a feature of it
    return list(features[name].bytes_list.value) if name in features else []


def read_records(path: str) -> Iterator[bytes]:
    """Reads a TFRecord file, compressed by gzip or not, whatever it is called.

    Raises:
        ValueError: The file cannot be read to its end; the message names it.
    """
    try:
        check_regular(path)
        with tf.io.gfile.GFile(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        options = "GZIP" if compressed else ""
        size = 0
        for record in tf.data.TFRecordDataset(path, options).as_numpy_iterator():
            size += _AROUND_RECORD + len(record)
            yield record
        if compressed:
            _check_complete(path, size)
    except (tf.errors.OpError, FileFaultError, EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "message", error)
        raise ValueError(
            f"{shown(path)} cannot be read as a TFRecord file ({reason}). Repair or remove "
            "it, or correct the pattern if it is no data."
        ) from error


def _check_complete(path: str, size: int) -> None:
    """Makes sure that a compressed file is all there.

    One that was cut between two records ends like a whole one, and TensorFlow reads it without a
    word. But gzip ends with the number of bytes that it has compressed; of a file of several parts
    put together it is that of the last part, so then all of it is read once more.

    Args:
        path: Of the file.
        size: Bytes of all records that were read, with what TFRecord puts around them.

    Raises:
        EOFError: It was cut.
        OSError: It is damaged.
    """
    with SeekableFile(path) as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % 2**32:
            return
        file.seek(0)
        with gzip.open(file) as whole:
            while whole.read(_PIECE):
                pass


class ReadRecords(ReadImages):
    """Reads the records below a folder: Pipeline -> PCollection[tf.train.Example].

    Arguments and further outputs are those of ReadImages; there are no ignored files.
    """

    READ_FILE = _CheckRecord

    @staticmethod
    def list_paths(pattern: str, base: str) -> list[bytes]:
        """The files to read; their number says nothing of the work."""
        return [os.fsencode(path) for path in list_files(base, pattern)]
