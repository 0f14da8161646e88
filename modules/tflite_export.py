"""TFLite models for phones and small devices, compared with the network before they are written.

They lie in `assets.extra/` of the SavedModel. That is TensorFlow's own place for files that belong
to a SavedModel and are not part of its graph: loaders and TF Serving ignore it, and Pusher, which
copies the whole folder, takes it along, so every pushed version carries its own TFLite models.

A TFLite model takes the pixels that the transform graph gives, since there is no image decoder in
TFLite. The device decodes and resizes, and then computes, for a channel of a pixel p in 0…255,
`black + (white − black) · p / 255` with the two numbers of that channel in `tflite.json`.
"""

from __future__ import annotations

import json
import os
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from modules.pixels import PixelRange
from modules.settings import ExportSettings, Settings
from modules.tflite_runtime import measure_latency, run_tflite, without_chatter

REPORT = "tflite.json"
MAX_COMPARED = 64  # images


class TFLiteError(RuntimeError):
    """There is no usable TFLite model of this network; the message says why and what to do."""


class TFLiteModel(Settings):
    """One file.

    `latency_ms`: median time for one image in one thread, on the machine that wrote it.
    `similarity`: 1 − ‖a − b‖² / 2 of the embeddings a of the network and b of this model, the
    cosine where both have length 1; equal embeddings have 1.
    """

    file: str
    bytes: int
    mean_similarity: float
    min_similarity: float
    latency_ms: float


class TFLiteReport(Settings):
    """What `tflite.json` says.

    `input_shape`: height, width, channels of the one input, float32 [N, H, W, C]; a model starts
    with N = 1 and can be resized. The one output is float32 [N, D] of length 1.
    """

    input_shape: tuple[int, int, int]
    input_black: tuple[float, ...] | None
    input_white: tuple[float, ...] | None
    embedding_size: int
    compared_images: int
    models: dict[Literal["float", "dynamic"], TFLiteModel]


def extra_assets(serving_model_dir: str) -> str:
    """The folder of a SavedModel for files that travel with it."""
    return os.path.join(serving_model_dir, "assets.extra")  # noqa: PTH118


def export_tflite(
    embedder: keras.Model,
    folder: str,
    images: np.ndarray,
    settings: ExportSettings | None = None,
    pixels: PixelRange | None = None,
) -> TFLiteReport:
    """Writes `embedding_float.tflite`, `embedding_dynamic.tflite` and `tflite.json`.

    The second one has its weights quantised to 8 bits (dynamic range) and is about a quarter of the
    size. Nothing is written unless both agree with the network: the float model on every image,
    since conversion should change nothing but roundings; the quantised one in the mean, since
    single images near a border may move.

    Args:
        embedder: The network in float32, from `modules.models.build_embedding_model`.
        folder: Where to write, such as `extra_assets(serving_model_dir)`; made if missing.
        images: Transformed pixels, float32 [N, H, W, C], real ones. The first 64 are compared.
        settings: The least similarities. Default: those of `ExportSettings`.
        pixels: What the transform graph makes of black and white, for `tflite.json`.

    Returns:
        Sizes, similarities and latencies.

    Raises:
        ValueError: No images.
        TFLiteError: The network cannot be converted or has embeddings that are not finite, or a
            model differs too much from it.
    """
    settings = settings or ExportSettings()
    images = np.asarray(images[:MAX_COMPARED], np.float32)
    if not len(images):
        raise ValueError("TFLite export needs at least one image to compare the models on.")
    wanted = np.asarray(embedder(images, training=False))
    if not np.isfinite(wanted).all():
        raise TFLiteError(f"The embeddings of {embedder.name} are not all finite.")
    contents = _convert(embedder)
    models = {name: _measure(name, contents[name], images, wanted) for name in contents}
    _check(models, settings)
    report = TFLiteReport(
        input_shape=images.shape[1:],
        input_black=pixels and pixels.black,
        input_white=pixels and pixels.white,
        embedding_size=wanted.shape[1],
        compared_images=len(images),
        models=models,
    )
    tf.io.gfile.makedirs(folder)
    for name, model in models.items():
        _write(folder, model.file, contents[name])
    _write(folder, REPORT, json.dumps(report.model_dump(mode="json"), indent=2).encode())
    return report


def read_tflite_report(folder: str) -> TFLiteReport | None:
    """Reads `tflite.json`, None if there is none."""
    path = os.path.join(folder, REPORT)  # noqa: PTH118
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return TFLiteReport.model_validate_json(file.read())


def _write(folder: str, name: str, content: bytes) -> None:
    with tf.io.gfile.GFile(os.path.join(folder, name), "wb") as file:  # noqa: PTH118
        file.write(content)


def _convert(embedder: keras.Model) -> dict[str, bytes]:
    """The float and the quantised model."""

    @tf.function(input_signature=[tf.TensorSpec(embedder.input_shape, tf.float32, name="image")])
    def embed(image: tf.Tensor) -> tf.Tensor:
        return embedder(image, training=False)

    contents = {}
    with without_chatter():
        for name in ("float", "dynamic"):
            # Without the network as second argument the converter freezes the function itself. With
            # it, it goes through a SavedModel, which takes ten times as long and loses the weights.
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [embed.get_concrete_function()]
            )
            if name == "dynamic":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            try:
                contents[name] = converter.convert()
            except Exception as error:  # the converter's error has no public name
                raise TFLiteError(
                    f"The network {embedder.name} cannot be converted to TFLite: {error}. Choose "
                    "another model.name, or set export.tflite = false."
                ) from error
    return contents


def _measure(name: str, content: bytes, images: np.ndarray, wanted: np.ndarray) -> TFLiteModel:
    try:
        found = run_tflite(content, images)
    except (RuntimeError, ValueError) as error:
        raise TFLiteError(
            f"TFLite cannot run the {name} model that it made of the network: {error}. Choose "
            "another model.name, or set export.tflite = false."
        ) from error
    similarity = 1 - np.square(found - wanted).sum(axis=1) / 2
    return TFLiteModel(
        file=f"embedding_{name}.tflite",
        bytes=len(content),
        mean_similarity=float(similarity.mean()),
        min_similarity=float(similarity.min()),
        latency_ms=measure_latency(content, images[:1]),
    )


def _check(models: dict[str, TFLiteModel], settings: ExportSettings) -> None:
    """Written so that NaN fails."""
    for name, found, kind, least in (
        ("float", models["float"].min_similarity, "least", settings.min_similarity_float),
        ("dynamic", models["dynamic"].mean_similarity, "mean", settings.min_similarity_dynamic),
    ):
        if not found >= least:
            raise TFLiteError(
                f"{models[name].file} differs from the network: the {kind} similarity of their "
                f"embeddings is {found:.6f}, at least {least} is wanted. Nothing was exported. "
                f"Lower export.min_similarity_{name} if the loss is acceptable, or set "
                "export.tflite = false."
            )
