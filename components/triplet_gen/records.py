"""The files that TripletGen writes: images with the numbers of their positives and negatives."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from components.triplet_gen.rows import Rows
from components.triplet_gen.sampling import TripletIndices
from modules.contract import COPY, ID, IMAGE, LABEL, NEGATIVES, POSITIVES


def make_records(rows: Rows, triplets: TripletIndices, own: int) -> Iterator[bytes]:
    """Makes the records of a file.

    Args:
        rows: In the order of the file.
        triplets: Their row numbers; anchors ascend.
        own: The rows from this one on have their own place in another file.

    Yields:
        One serialised tf.train.Example per row, with the features of `modules.contract`; the same
        bytes for the same values.
    """
    bounds = np.searchsorted(triplets.anchor, np.arange(len(rows.ids) + 1)).tolist()
    of_rows = itertools.starmap(slice, itertools.pairwise(bounds))
    positives, negatives = triplets.positive.tolist(), triplets.negative.tolist()
    columns = (rows.images.tolist(), rows.labels.tolist(), rows.ids.tolist())
    for number, (chosen, *values) in enumerate(zip(of_rows, *columns, strict=True)):
        example = tf.train.Example()
        # Filled in place: constructors of all the messages inside take twice the time.
        feature = example.features.feature
        for name, value in zip((IMAGE, LABEL, ID), values, strict=True):
            feature[name].bytes_list.value.append(value)
        feature[POSITIVES].int64_list.value.extend(positives[chosen])
        feature[NEGATIVES].int64_list.value.extend(negatives[chosen])
        feature[COPY].int64_list.value.append(number >= own)
        yield example.SerializeToString(deterministic=True)


def write_records(path: str, records: Iterable[bytes], temp_dir: str) -> None:
    """Writes a TFRecord file under a temporary name and renames it, so nobody reads half of it.

    It is not compressed: nearly all bytes are images, which are compressed already.

    Args:
        path: File in an existing folder; it is replaced.
        records: In order.
        temp_dir: Existing folder for the unfinished file, on the same file system.
    """
    name = path.rpartition("/")[2]
    unfinished = f"{temp_dir}/{name}.{uuid.uuid4().hex}"
    with tf.io.TFRecordWriter(unfinished) as writer:
        for record in records:
            writer.write(record)
    tf.io.gfile.rename(unfinished, path, overwrite=True)
