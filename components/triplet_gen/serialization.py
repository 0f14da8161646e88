"""Serialised triplets, built by joining bytes.

`tf.train.Example` is one field, `Features`, and that is a map. On the wire a map is a sequence of
entries, and entries of any origin may be concatenated
(https://protobuf.dev/programming-guides/encoding/#maps). So the entries of a row are encoded once
per role. A triplet is the tag and length of the whole and then the entries of its three rows.
Images are not copied until a triplet is joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from components.triplet_gen.sampling import TripletIndices
from modules.contract import ID, IMAGE, LABEL, ROLES


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


# Buckets share most sizes.
@lru_cache(maxsize=1 << 14)
def _entry_header(name: str, size: int) -> bytes:
    """All bytes of a map entry name -> Feature(bytes_list=[value]) before the value itself.

    The nesting is Features.feature (1) { key (1), value (2) Feature.bytes_list (1)
    { BytesList.value (1) } }.
    """
    key = name.encode()
    value = _field(1, size)
    bytes_list = _field(1, len(value) + size) + value
    feature = _field(2, len(bytes_list) + size) + bytes_list
    entry = _field(1, len(key)) + key + feature
    return _field(1, len(entry) + size) + entry


def _prefixes(
    role: str, labels: Sequence[bytes], ids: Sequence[bytes], image_sizes: Sequence[int]
) -> list[bytes]:
    """The entries of each row in one role, up to where its image follows.

    Headers depend on sizes only, and sizes repeat, so each is made once.
    """
    label_entry = {
        label: _entry_header(f"{role}/{LABEL}", len(label)) + label for label in set(labels)
    }
    id_header = {size: _entry_header(f"{role}/{ID}", size) for size in set(map(len, ids))}
    image_header = {size: _entry_header(f"{role}/{IMAGE}", size) for size in set(image_sizes)}
    parts = zip(
        map(label_entry.__getitem__, labels),
        map(id_header.__getitem__, map(len, ids)),
        ids,
        map(image_header.__getitem__, image_sizes),
        strict=True,
    )
    return list(map(b"".join, parts))


def serialize_triplets(
    labels: Sequence[bytes], ids: Sequence[bytes], images: Sequence[bytes], triplets: TripletIndices
) -> Iterator[bytes]:
    """Serialises triplets of the data contract.

    Args:
        labels: Label of each row.
        ids: Id of each row.
        images: Encoded image of each row.
        triplets: Row numbers, see `draw_triplets`.

    Yields:
        One serialised tf.train.Example per triplet, with the nine features `anchor/image`,
        `anchor/label`, `anchor/id`, `positive/image`, …, `negative/id`.
    """
    image_sizes = np.fromiter(map(len, images), np.int64, len(images))
    image_column = np.array(images, object)
    totals = np.zeros(len(triplets.anchor), np.int64)
    columns: list[list[bytes]] = []
    for role, rows in zip(ROLES, triplets, strict=True):
        prefixes = _prefixes(role, labels, ids, image_sizes.tolist())
        sizes = image_sizes + np.fromiter(map(len, prefixes), np.int64, len(prefixes))
        totals += sizes[rows]
        columns += [np.array(prefixes, object)[rows].tolist(), image_column[rows].tolist()]
    # Example.features (1) around them all.
    header = {total: _field(1, total) for total in set(totals.tolist())}
    headers = map(header.__getitem__, totals.tolist())
    return map(b"".join, zip(headers, *columns, strict=True))
