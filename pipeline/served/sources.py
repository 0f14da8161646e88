"""What `embed` reads: a folder of images, a sheet, or TFRecords, cut into parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from modules.contract import ID, IMAGE, LABEL
from modules.storage import path_exists, walk_files
from pipeline.runtime import ConfigError
from pipeline.served.image_files import find_images, read_image
from pipeline.served.version import as_text

if TYPE_CHECKING:
    from components.sheet_example_gen import Row

SourceKind = Literal["images", "csv", "parquet", "tfrecord"]
PART = 2048  # images


class Part(NamedTuple):
    """Some of the images, which are embedded in one go.

    Attributes:
        number: In the order of the source, from 0.
        kind: Of the source.
        root: Folder that ids are relative to.
        items: Paths of images, rows of a sheet, or the path of one file of records.
    """

    number: int
    kind: SourceKind
    root: str
    items: Sequence[Any]


class Item(NamedTuple):
    """An image of a source; `fault` says why there is none."""

    id: str
    label: str | None
    image: bytes
    fault: str | None = None


def kind_of(source: str) -> SourceKind:
    """Tells what a source is: a sheet by its ending, else a folder with images, or records.

    Raises:
        ConfigError: There is no such file or folder.
    """
    if not path_exists(source):
        raise ConfigError(f"There is no {source}. Name a folder of images, a sheet or TFRecords.")
    for ending, kind in ((".csv", "csv"), (".parquet", "parquet")):
        if source.lower().endswith(ending):
            return kind  # type: ignore[return-value]
    from components.image_example_gen import SUFFIXES

    names = walk_files(source) or [source]
    return "images" if any(name.lower().endswith(SUFFIXES) for name in names) else "tfrecord"


def cut(source: str, kind: SourceKind) -> list[Part]:
    """Cuts a source into parts; the same files give the same parts.

    Raises:
        ConfigError: There is nothing in it, or a sheet is wrong.
    """
    root = source.rstrip("/") if kind in ("images", "tfrecord") else os.path.dirname(source)  # noqa: PTH120
    if kind == "images":
        groups = _in_parts(find_images([source]))
    elif kind == "tfrecord":
        files = [f"{root}/{name}" for name in walk_files(root)
                 if not any(part.startswith(".") for part in name.split("/"))]  # fmt: skip
        groups = [[file] for file in files or [source]]
    else:
        groups = _in_parts(_rows(source, kind, root))
    if not groups:
        raise ConfigError(f"There is no image in {source}.")
    return [Part(number, kind, root, group) for number, group in enumerate(groups)]


def _rows(sheet: str, kind: Literal["csv", "parquet"], root: str) -> list[Row]:
    from components.sheet_example_gen import SheetError, read_rows

    try:
        return list(read_rows(sheet, kind, root, ()))
    except SheetError as error:
        raise ConfigError(str(error)) from error


def _in_parts(items: Sequence[Any]) -> list[list[Any]]:
    return [list(items[start : start + PART]) for start in range(0, len(items), PART)]


def read_part(part: Part, max_pixels: int) -> Iterator[Item]:
    """Reads the images of a part, in order."""
    if part.kind == "images":
        for path in part.items:
            file = read_image(path)
            yield Item(path.removeprefix(f"{part.root}/"), None, file.content, file.fault)
    elif part.kind == "tfrecord":
        for path in part.items:
            yield from _records(path)
    else:
        from components.sheet_example_gen import read_row

        for row in part.items:
            checked = read_row(row, max_pixels)
            yield Item(row.id, row.label, checked.image or b"", checked.fault)


def _records(path: str) -> Iterator[Item]:
    import tensorflow as tf

    from components.record_example_gen import read_records

    for number, record in enumerate(read_records(path)):
        features = tf.train.Example.FromString(record).features.feature
        values = {
            name: list(features[name].bytes_list.value) if name in features else []
            for name in (ID, LABEL, IMAGE)
        }
        name = as_text(values[ID][0]) if values[ID] else f"{os.path.basename(path)}#{number}"  # noqa: PTH119
        label = as_text(values[LABEL][0]) if values[LABEL] else None
        if len(values[IMAGE]) == 1:
            yield Item(name, label, values[IMAGE][0])
        else:
            yield Item(name, label, b"", f"the record has {len(values[IMAGE])} images, not one")


def source_fingerprint(parts: Sequence[Part]) -> str:
    """A hash of what is to be read: names, and sizes and times of local files."""
    found = hashlib.sha256()
    for part in parts:
        for item in part.items:
            path = item if isinstance(item, str) else item.path
            try:
                state = Path(path).stat()
                text = f"{item!r} {state.st_size} {state.st_mtime_ns}"
            except OSError:
                text = repr(item)
            found.update(f"{part.number} {text}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
