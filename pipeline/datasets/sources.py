"""All sources of labelled images by the name that the command `data` takes."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.idx import FILES, IdxError, read_split
from pipeline.datasets.labelled_images import LabelledImages
from pipeline.datasets.mnist_sample import load_mnist_sample
from pipeline.datasets.published import PUBLISHED, download_published, read_published

SOURCES = ("mnist-sample", "mnist", "fashion-mnist", "idx")


def load_dataset(source: str, folder: Path | None = None) -> dict[str, LabelledImages]:
    """Loads a data set into memory.

    Args:
        source: One of `SOURCES`.
        folder: Where the four IDX files are; None: from the package or the network.

    Returns:
        The images of `train` and `eval`, each as published (`eval` is the published test set). The
        id is the source, the split and the row: `mnist/eval/00042`.

    Raises:
        IdxError: A file in `folder` is missing, damaged or not what it should be.
        ConnectionError: The data set could not be downloaded.
        ValueError: `folder` is missing for `idx`, or given for `mnist-sample`.
    """
    if source == "mnist-sample":
        if folder is not None:
            raise ValueError("mnist-sample is installed already and takes no --source.")
        return load_mnist_sample()
    classes = None
    if source in PUBLISHED:
        classes = PUBLISHED[source].classes
        arrays = read_published(source, folder) if folder else download_published(source)
    elif folder is None:
        raise ValueError("idx needs --source DIR, the folder of the four IDX files.")
    else:
        arrays = {split: read_split(folder, split) for split in FILES}
    splits = {}
    for split, (images, labels) in arrays.items():
        if classes and labels.max(initial=0) >= len(classes):
            raise IdxError(
                f"{source}, {split}: label {labels.max()} found, expected 0 to {len(classes) - 1}. "
                "For other data sets use the source `idx`."
            )
        splits[split] = LabelledImages(
            images,
            [classes[label] if classes else str(label) for label in labels],
            [f"{source}/{split}/{row:05d}" for row in range(len(images))],
        )
    return splits
