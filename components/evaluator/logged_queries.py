"""Query images that a user has logged, as examples that the models read."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError

from components.image_example_gen import SUFFIXES, FileFaultError, check_image, check_regular
from components.record_example_gen import read_records
from modules.contract import IMAGE, make_example
from modules.runtime import work_done
from modules.storage import read_file, walk_files

# What a log holds comes from anybody; a larger image counts as unusable.
_MAX_PIXELS = 50_000_000


def write_queries(folder: str, path: str) -> tuple[int, int]:
    """Checks all query images of a folder and writes those that can be used.

    Image files are told by their ending, all other files are TFRecords of tf.Examples with an
    `image`, gzipped or not; names that begin with a dot are passed over. A query is named by its
    file and its place in it, so a query that was logged twice counts twice.

    Args:
        folder: Local, or a URI that TensorFlow reads; it need not exist.
        path: The gzipped TFRecord file to write.

    Returns:
        How many can be used, and how many cannot.
    """
    usable = unusable = 0
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for name, image in _images(folder.rstrip("/")):
            checked = None if image is None else check_image(image, _MAX_PIXELS)
            if checked is None or checked.image is None:
                unusable += 1
                continue
            example = make_example(checked.image, b"", name.encode("utf-8", "surrogateescape"))
            writer.write(example.SerializeToString())
            usable += 1
            work_done.add("logged queries")
    return usable, unusable


def _images(folder: str) -> Iterator[tuple[str, bytes | None]]:
    for name in walk_files(folder):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        path = f"{folder}/{name}"
        if name.lower().endswith(SUFFIXES):
            try:
                check_regular(path)
                yield name, read_file(path)
            except (FileFaultError, tf.errors.OpError):
                yield name, None
            continue
        try:
            for number, record in enumerate(read_records(path)):
                example = tf.train.Example.FromString(record)
                found = example.features.feature[IMAGE].bytes_list.value
                yield f"{name}#{number}", found[0] if len(found) == 1 else None
        except (ValueError, DecodeError):  # no TFRecords, or cut off
            yield name, None
