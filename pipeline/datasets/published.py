"""MNIST and Fashion-MNIST as their authors publish them: class names, checksums, download.

Sources: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"; H. Xiao,
K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.idx import FILES, read_split

Arrays = dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]


@dataclass(frozen=True)
class Published:
    """A published data set of four IDX files.

    Attributes:
        classes: The class names, by the integer in the files.
        md5: Hex MD5 of each gzip file, by its official name.
        keras_module: The module of `keras.datasets` that downloads it.
    """

    classes: tuple[str, ...]
    md5: Mapping[str, str]
    keras_module: str


PUBLISHED = {
    "mnist": Published(
        ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        "mnist",
    ),
    "fashion-mnist": Published(
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
            "Bag", "Ankle boot",
        ),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        "fashion_mnist",
    ),
}  # fmt: skip


def read_published(name: str, folder: Path) -> Arrays:
    """Reads a published data set from its four files and compares their checksums.

    Args:
        name: A key of `PUBLISHED`.
        folder: Holds the files; an unpacked one (no `.gz`) has no published checksum.

    Returns:
        By split: images, uint8 [n, height, width], and labels, uint8 [n].

    Raises:
        IdxError: A file is missing, damaged or not the published one.
    """
    return {split: read_split(folder, split, PUBLISHED[name].md5) for split in FILES}


def download_published(name: str) -> Arrays:
    """Downloads a published data set with Keras, which keeps it in its cache.

    Args:
        name: A key of `PUBLISHED`.

    Returns:
        As `read_published`.

    Raises:
        ConnectionError: It could not be downloaded.
    """
    import keras

    try:
        train, test = getattr(keras.datasets, PUBLISHED[name].keras_module).load_data()
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        files = ", ".join(f"{file}.gz" for files in FILES.values() for file in files)
        raise ConnectionError(
            f"{name} could not be downloaded ({error}). Without a network: get the four files "
            f"{files} elsewhere and name their folder with --source DIR, or use mnist-sample, "
            "which is installed already."
        ) from error
    return {"train": train, "eval": test}
