"""Writes labelled images as TFRecord files of the data contract, all of them or none."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.labelled_images import EncodedImage
from pipeline.runtime import quiet_imports


@dataclass(frozen=True)
class SplitSummary:
    """What was written for one split: numbers of images, classes and files; size in bytes."""

    images: int
    classes: int
    files: int
    size: int


def write_dataset(
    output: Path,
    splits: Mapping[str, Iterable[EncodedImage]],
    *,
    overwrite: bool = False,
    images_per_file: int = 10_000,
    on_image: Callable[[], object] = lambda: None,
) -> dict[str, SplitSummary]:
    """Writes splits of labelled images as uncompressed TFRecord files of the data contract.

    Everything is written to a temporary folder beside `output` and renamed at the end: a reader
    sees the whole data set or none of it. The files are `train/data-00000-of-00006.tfrecord` and
    so on.

    Args:
        output: Folder to create; holds one folder per split afterwards.
        splits: The images by the name of their split; each is read once, as a stream.
        overwrite: Replace a data set that is already in `output`.
        images_per_file: At most.
        on_image: Called after each written example, for a progress bar.

    Returns:
        The summary of each split.

    Raises:
        FileExistsError: `output` is not empty and `overwrite` is off, or it holds anything other
            than a data set written by this function.
        ValueError: A split without an image.
    """
    output = output.absolute()
    check_output(output, overwrite)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    replaced = temporary.with_suffix(".replaced")
    try:
        summaries = {
            name: _write_split(temporary / name, images, images_per_file, on_image)
            for name, images in splits.items()
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
    # To replace is to delete: never anything but what `write_dataset` has written.
    for path in output.rglob("*"):
        known = path.match("data-*-of-*.tfrecord") and path.parent.parent == output
        if not (path.is_dir() or known):
            raise FileExistsError(
                f"{output} holds {path.relative_to(output)}, which is no part of a data set "
                "written here, so it is not replaced. Name another folder."
            )


def _write_split(
    folder: Path,
    images: Iterable[EncodedImage],
    images_per_file: int,
    on_image: Callable[[], object],
) -> SplitSummary:
    with quiet_imports():
        import tensorflow as tf

    from modules.contract import make_example

    folder.mkdir(parents=True)
    count, labels, files = 0, set[str](), list[Path]()
    stream = iter(images)
    # The number of files is part of each name, and known only when the stream has ended.
    while (first := next(stream, None)) is not None:
        files.append(folder / f"{len(files):05d}")
        with tf.io.TFRecordWriter(str(files[-1])) as writer:
            for image, label, example_id in itertools.chain(
                (first,), itertools.islice(stream, images_per_file - 1)
            ):
                example = make_example(image, label.encode(), example_id.encode())
                writer.write(example.SerializeToString())
                labels.add(label)
                count += 1
                on_image()
    if not files:
        raise ValueError(f"The split {folder.name!r} has no image.")
    size = sum(file.stat().st_size for file in files)
    for number, file in enumerate(files):
        file.rename(folder / f"data-{number:05d}-of-{len(files):05d}.tfrecord")
    return SplitSummary(count, len(labels), len(files), size)
