"""What statistics can say about an encoded image: numeric features derived from its pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from modules.contract import IMAGE
from modules.images import count_channels, map_decoded

# Arrow type of each derived feature; all are named after the feature they come from.
_FLOAT, _INT = pa.large_list(pa.float32()), pa.large_list(pa.int64())
IMAGE_FEATURES = {
    f"{IMAGE}/brightness": _FLOAT,
    f"{IMAGE}/contrast": _FLOAT,
    f"{IMAGE}/width": _INT,
    f"{IMAGE}/height": _INT,
    f"{IMAGE}/channels": _INT,
}
_DERIVER = "image_features"


Background = tuple[int, int, int]


def measure(
    images: list[bytes], background: Background = (255, 255, 255)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes images as Transform does, and measures them as they are seen, in their own size.

    Args:
        images: N encoded images.
        background: Red, green and blue behind transparent images.

    Returns:
        float32 [N, 2]: mean brightness and contrast (standard deviation, also called RMS contrast)
        of all values of the colour channels, which run from 0 (black) to 1. int32 [N, 3]: width and
        height in pixels, number of channels without alpha (1 or 3). bool [N]: whether the image
        could be decoded; where not, the numbers mean nothing.
    """
    try:
        measured = _measurer(background)(tf.constant(images, tf.string))
        return measured[0].numpy(), measured[1].numpy(), np.ones(len(images), bool)
    except tf.errors.OpError:  # does not say which one
        if len(images) == 1:
            return np.zeros((1, 2), np.float32), np.zeros((1, 3), np.int32), np.zeros(1, bool)
    parts = [measure([image], background) for image in images]
    pixels, sizes, decoded = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pixels, sizes, decoded


@functools.cache
def _measurer(background: Background) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """`measure` of images that can be decoded; one graph, as eager calls cost far more."""

    def one(pixels: tf.Tensor) -> tf.Tensor:
        values = tf.cast(pixels, tf.float32) / 255.0
        height, width, _ = tf.unstack(tf.cast(tf.shape(pixels), tf.float32), num=3)
        return tf.stack([tf.reduce_mean(values), tf.math.reduce_std(values), width, height])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def measure_all(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One at a time: a photograph is large once decoded, and Beam runs batches side by side.
        measured = map_decoded(images, one, tf.TensorSpec([4], tf.float32), background)
        sizes = tf.cast(measured[:, 2:], tf.int32)
        return measured[:, :2], tf.concat([sizes, count_channels(images)[:, tf.newaxis]], 1)

    return measure_all


def add_image_features(
    batch: pa.RecordBatch, background: Background = (255, 255, 255)
) -> pa.RecordBatch:
    """Adds the derived features to a batch of examples.

    Args:
        batch: As TFXIO reads tf.Examples: one list of values per example and feature.
        background: Red, green and blue behind transparent images.

    Returns:
        The batch with the columns of `IMAGE_FEATURES`; they are null for examples without exactly
        one image that can be decoded. Without a column of encoded images the batch is unchanged.

    Raises:
        ValueError: The examples have a feature of such a name themselves.
    """
    names = batch.schema.names
    if taken := sorted(set(names) & set(IMAGE_FEATURES)):
        raise ValueError(
            f"The examples have the features {', '.join(taken)}, names that StatisticsGen gives to "
            "what it derives from the images. Rename or remove these features in the data."
        )
    if IMAGE not in names:
        return batch
    lists = batch.column(names.index(IMAGE))
    value_type = getattr(lists.type, "value_type", pa.null())
    if not (pa.types.is_binary(value_type) or pa.types.is_large_binary(value_type)):
        return batch
    values = [row[0] if row is not None and len(row) == 1 else None for row in lists.to_pylist()]
    images = {row: value for row, value in enumerate(values) if value is not None}
    columns: dict[str, list[list[float] | None]] = {
        name: [None] * len(values) for name in IMAGE_FEATURES
    }
    if images:
        pixels, sizes, decoded = measure(list(images.values()), background)
        numbers = [*pixels.T.tolist(), *sizes.T.tolist()]
        for column, measured in zip(columns.values(), numbers, strict=True):
            for row, number, good in zip(images, measured, decoded, strict=True):
                column[row] = [number] if good else None
    arrays = [pa.array(columns[name], kind) for name, kind in IMAGE_FEATURES.items()]
    return pa.RecordBatch.from_arrays([*batch.columns, *arrays], [*names, *IMAGE_FEATURES])


def mark_derived(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns a copy that says which features were derived, and from which.

    TFDV infers such features into a schema with the lifecycle stage VALIDATION_DERIVED, which
    Transform and every other reader of examples leaves out.
    """
    marked = statistics_pb2.DatasetFeatureStatisticsList()
    marked.CopyFrom(statistics)
    for dataset in marked.datasets:
        for feature in dataset.features:
            if feature.path.step[0] in IMAGE_FEATURES:
                source = feature.validation_derived_source
                source.deriver_name = _DERIVER
                source.source_path.add(step=[IMAGE])
    return marked
