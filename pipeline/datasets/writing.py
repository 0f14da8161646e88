"""Writes labelled images as TFRecord shards of contract examples, all of them or none."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime import quiet_imports

Record = tuple[bytes, str, str]  # encoded image, label, id


@dataclass(frozen=True)
class SplitSummary:
    """What was written for one split: numbers of images, classes and shards; size in bytes."""

    images: int
    classes: int
    shards: int
    size: int


def write_dataset(
    output: Path,
    splits: Mapping[str, Iterable[Record]],
    *,
    overwrite: bool = False,
    shard_size: int = 10_000,
    on_image: Callable[[], object] = lambda: None,
) -> dict[str, SplitSummary]:
    """Writes splits of labelled images as uncompressed TFRecord shards of contract examples.

    Everything is written to a temporary sibling of `output` and renamed at the end: a reader sees
    the whole data set or none of it.

    Args:
        output: Folder to create; holds one folder per split afterwards.
        splits: Per split name its (encoded image, label, id) records, read once, as a stream.
        overwrite: Whether to replace a data set that is already in `output`.
        shard_size: Most examples in one shard.
        on_image: Called after each written example, for a progress bar.

    Returns:
        The summary of each split.

    Raises:
        FileExistsError: `output` is not empty and `overwrite` is off, or it holds anything other
            than a data set written by this function.
        ValueError: A split without a single record.
    """
    output = output.absolute()
    check_output(output, overwrite)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    replaced = temporary.with_suffix(".replaced")
    try:
        summaries = {
            name: _write_split(temporary / name, records, shard_size, on_image)
            for name, records in splits.items()
        }
        if output.exists():
            output.rename(replaced)
        temporary.rename(output)
    finally:
        if replaced.exists() and not output.exists():  # the second rename failed
            replaced.rename(output)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    return summaries


def check_output(output: Path, overwrite: bool) -> None:
    """Raises FileExistsError when `write_dataset` may not write to `output`."""
    if not output.exists():
        return
    if not output.is_dir():
        raise FileExistsError(f"{output} is a file; name a folder.")
    if any(output.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{output} is not empty. Name another folder, or replace the data set in it with "
            "--overwrite."
        )
    # Replacing means deleting: never anything but what this module writes.
    for path in output.rglob("*"):
        known = path.match("data-*-of-*.tfrecord") and path.parent.parent == output
        if not (path.is_dir() or known):
            raise FileExistsError(
                f"{output} holds {path.relative_to(output)}, which is no part of a data set "
                "written here, so it is not replaced. Name another folder."
            )


def _write_split(
    folder: Path, records: Iterable[Record], shard_size: int, on_image: Callable[[], object]
) -> SplitSummary:
    with quiet_imports():
        import tensorflow as tf

    from modules.contract import make_example

    folder.mkdir(parents=True)
    images, labels, shards = 0, set(), []
    stream = iter(records)
    # The number of shards is part of each name, and known only when the stream has ended.
    while (first := next(stream, None)) is not None:
        shards.append(folder / f"{len(shards):05d}")
        with tf.io.TFRecordWriter(str(shards[-1])) as writer:
            for image, label, example_id in itertools.chain(
                (first,), itertools.islice(stream, shard_size - 1)
            ):
                example = make_example(image, label.encode(), example_id.encode())
                writer.write(example.SerializeToString())
                labels.add(label)
                images += 1
                on_image()
    if not shards:
        raise ValueError(f"The split {folder.name!r} has no image.")
    size = sum(shard.stat().st_size for shard in shards)
    for number, shard in enumerate(shards):
        shard.rename(folder / f"data-{number:05d}-of-{len(shards):05d}.tfrecord")
    return SplitSummary(images, len(labels), len(shards), size)
