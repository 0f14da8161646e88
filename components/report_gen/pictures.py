"""Labels and small pictures of some images, out of the examples."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from modules.contract import ID, IMAGE, LABEL
from modules.images import small_webp
from modules.report import LARGEST, QUALITY
from modules.storage import read_bytes, read_examples, write_file

Found = tuple[bytes, bytes, bytes | None]  # id, label, picture


class Images(NamedTuple):
    """Labels and WebP files, by id."""

    labels: dict[bytes, bytes]
    pictures: dict[bytes, bytes]


class WriteImages(beam.PTransform):
    """PCollection of paths of example files → one Parquet file.

    Args:
        path: Of the Parquet file.
        named: Ids whose label is wanted.
        pictured: Ids whose picture is wanted too.
        background: The colour behind transparent images.
    """

    def __init__(
        self, path: str, named: Collection[bytes], pictured: Collection[bytes], background: str
    ) -> None:
        super().__init__()
        self._path = path
        self._find = _Find(frozenset(named), frozenset(pictured), background)

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        """Reads the files side by side."""
        return (
            files
            | "Spread" >> beam.Reshuffle()
            | "Find" >> beam.ParDo(self._find)
            | "Together" >> beam.combiners.ToList()
            | "Write" >> beam.Map(_write, self._path)
        )


class _Find(beam.DoFn):
    def __init__(
        self, named: frozenset[bytes], pictured: frozenset[bytes], background: str
    ) -> None:
        self._named, self._pictured, self._background = named, pictured, background

    def process(self, file: str) -> Iterator[Found]:
        for batch in read_examples(file):
            ids, labels = batch[ID].numpy(), batch[LABEL].numpy()
            wanted = [
                row for row, one in enumerate(ids) if one in self._pictured or one in self._named
            ]
            images = batch[IMAGE].numpy() if wanted else ()
            for row in wanted:
                picture = None
                if ids[row] in self._pictured:
                    picture = small_webp(images[row], LARGEST, QUALITY, self._background)
                yield ids[row], labels[row], picture


def _write(found: Iterable[Found], path: str) -> str:
    ids, labels, pictures = zip(*sorted(found, key=lambda one: one[0]), strict=True) or ((), (), ())
    table = pa.table(
        {
            name: pa.array(values, pa.binary())
            for name, values in (("id", ids), ("label", labels), ("picture", pictures))
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_file(path, buffer.getvalue())
    return path


def read_images(path: str) -> Images:
    """Reads the file."""
    columns = pq.read_table(io.BytesIO(read_bytes(path))).to_pydict()
    ids = columns["id"]
    return Images(
        dict(zip(ids, columns["label"], strict=True)),
        {
            one: picture
            for one, picture in zip(ids, columns["picture"], strict=True)
            if picture is not None
        },
    )
