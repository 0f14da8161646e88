"""Serialised records, built by joining bytes.

`tf.train.Example` is one field, `Features`, and that is a map. On the wire a map is a sequence of
entries (https://protobuf.dev/programming-guides/encoding/#maps). All but the values depends on a
few sizes and is made once. The protobuf classes need several times as long, which would be most of
the node's time for small images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from components.triplet_gen.rows import Rows
from components.triplet_gen.sampling import TripletIndices
from modules.contract import COPY, ID, IMAGE, LABEL, NEGATIVES, POSITIVES

_BYTES_LIST, _INT64_LIST = 1, 3  # numbers of the fields of Feature


# Sizes and row numbers repeat.
@lru_cache(maxsize=1 << 16)
def _varint(value: int) -> bytes:
    """Encodes a non-negative integer, seven bits a byte, least significant first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(length)


@lru_cache(maxsize=1 << 14)
def _entry_header(name: str, kind: int, size: int) -> bytes:
    """All bytes of a map entry name -> Feature of one list before the value itself.

    The nesting is Features.feature (1) { key (1), value (2) Feature.bytes_list (1) or .int64_list
    (3) { value (1) } }. Integers are packed, so their list has one value on the wire as well.
    """
    key = name.encode()
    value = _field(1, size) if size or kind == _BYTES_LIST else b""
    values = _field(kind, len(value) + size) + value
    feature = _field(2, len(values) + size) + values
    entry = _field(1, len(key)) + key + feature
    return _field(1, len(entry) + size) + entry


def _bytes_entry(name: str, value: bytes) -> tuple[bytes, bytes]:
    return _entry_header(name, _BYTES_LIST, len(value)), value


def _int_entry(name: str, values: list[int]) -> tuple[bytes, bytes]:
    packed = b"".join(map(_varint, values))
    return _entry_header(name, _INT64_LIST, len(packed)), packed


def serialize_rows(rows: Rows, triplets: TripletIndices, own: int) -> Iterator[bytes]:
    """Serialises the rows of a file.

    Args:
        rows: In the order of the file.
        triplets: Their row numbers; anchors ascend.
        own: The rows from this one on have their own place in another file.

    Yields:
        One serialised tf.train.Example per row, with the features of `modules.contract`.
    """
    bounds = np.searchsorted(triplets.anchor, np.arange(len(rows.ids) + 1)).tolist()
    positives, negatives = triplets.positive.tolist(), triplets.negative.tolist()
    columns = (rows.images.tolist(), rows.labels.tolist(), rows.ids.tolist())
    of_rows = itertools.starmap(slice, itertools.pairwise(bounds))
    for number, (chosen, image, label, example_id) in enumerate(
        zip(of_rows, *columns, strict=True)
    ):
        entries = (
            *_bytes_entry(IMAGE, image),
            *_bytes_entry(LABEL, label),
            *_bytes_entry(ID, example_id),
            *_int_entry(POSITIVES, positives[chosen]),
            *_int_entry(NEGATIVES, negatives[chosen]),
            *_int_entry(COPY, [int(number >= own)]),
        )
        # Example.features (1) around them all.
        yield b"".join((_field(1, sum(map(len, entries))), *entries))
