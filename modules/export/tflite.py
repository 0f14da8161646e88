"""TFLite models for phones and small devices, compared with the network before they are written.

They lie in `assets.extra/` of the SavedModel. That is TensorFlow's own place for files that belong
to a SavedModel and are not part of its graph: loaders and TF Serving ignore it, and Pusher, which
copies the whole folder, takes it along, so every pushed version carries its own TFLite models.

A TFLite model takes the pixels that the transform graph gives, since there is no image decoder in
TFLite. The device decodes as `docs/images.md` says, brings the image to the size as `input_fit` in
`tflite.json` says (see `modules.images.fit`), and then computes, for a channel of a pixel p in
0…255, `black + (white − black) · p / 255` with the two numbers of that channel there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

import keras
import numpy as np
import tensorflow as tf

from modules.export.tflite_report import REPORT, TFLiteModel, TFLiteReport, Variant
from modules.export.tflite_runtime import CHATTER, measure_latency, run_tflite
from modules.images import PixelRange
from modules.runtime import held_back
from modules.settings import ExportSettings, ImageSettings
from modules.storage import write_file

# The comparison ends after so many images, or with the batch after which so much time has passed.
MAX_COMPARED, MAX_SECONDS = 500, 20.0  # images, s
_COMPARED_AT_ONCE = 50  # images


class TFLiteError(RuntimeError):
    """There is no usable TFLite model of this network; the message says why and what to do."""


def export_tflite(
    embedder: keras.Model,
    folder: str,
    batches: Iterable[np.ndarray],
    settings: ExportSettings | None = None,
    pixels: PixelRange | None = None,
    transformed: ImageSettings | None = None,
) -> TFLiteReport:
    """Writes `embedding_float.tflite`, `embedding_dynamic.tflite` and `tflite.json`.

    The second one has its weights quantised to 8 bits (dynamic range) and is about a quarter of the
    size. Nothing is written unless both agree with the network on every compared image.

    Args:
        embedder: The network in float32, from `modules.models.build_embedding_model`.
        folder: Where to write, such as `extra_assets(serving_model_dir)`; made if missing.
        batches: Transformed pixels, float32 [N, H, W, C] each, real ones. They are compared until
            there are `MAX_COMPARED` images or `MAX_SECONDS` have passed.
        settings: The least similarities. Default: those of `ExportSettings`.
        pixels: What the transform graph makes of black and white, for `tflite.json`.
        transformed: How the transform graph brings images to their size, for `tflite.json`.

    Returns:
        Sizes, similarities and latencies.

    Raises:
        ValueError: No images.
        TFLiteError: The network cannot be converted or has embeddings that are not finite, or a
            model differs too much from it.
    """
    settings = settings or ExportSettings()
    contents = _convert(embedder)
    similarities, image = _compare(embedder, contents, batches)
    models = {
        name: TFLiteModel(
            file=f"embedding_{name}.tflite",
            bytes=len(content),
            mean_similarity=float(similarities[name].mean()),
            min_similarity=float(similarities[name].min()),
            latency_ms=measure_latency(content, image),
        )
        for name, content in contents.items()
    }
    _check(models, settings)
    report = TFLiteReport(
        input_shape=image.shape[1:],
        input_black=pixels and pixels.black,
        input_white=pixels and pixels.white,
        input_fit=transformed.fit if transformed else None,
        input_background=transformed.background if transformed else None,
        embedding_size=embedder.output_shape[1],
        compared_images=len(similarities["float"]),
        models=models,
    )
    for name, model in models.items():
        write_file(f"{folder}/{model.file}", contents[name])
    write_file(f"{folder}/{REPORT}", json.dumps(report.model_dump(mode="json"), indent=2).encode())
    return report


def comparison_batches(
    images: np.ndarray, transform_images: Callable[[tf.Tensor], tf.Tensor]
) -> Iterator[np.ndarray]:
    """Makes the batches that `export_tflite` compares on, one when it is asked for.

    Args:
        images: Encoded, object [N] of bytes. The first `MAX_COMPARED` are taken.
        transform_images: Encoded images, string [B], to pixels, float32 [B, H, W, C].

    Yields:
        Pixels, float32 [B, H, W, C], about 50 images each.
    """
    images = images[:MAX_COMPARED]
    for part in np.array_split(images, math.ceil(len(images) / _COMPARED_AT_ONCE)):
        yield transform_images(tf.constant(part)).numpy()


def _convert(embedder: keras.Model) -> dict[Variant, bytes]:
    """The float and the quantised model."""

    @tf.function(input_signature=[tf.TensorSpec(embedder.input_shape, tf.float32, name="image")])
    def embed(image: tf.Tensor) -> tf.Tensor:
        return embedder(image, training=False)

    contents: dict[Variant, bytes] = {}
    with held_back(2, CHATTER):
        for name in get_args(Variant):
            # Without the network as second argument the converter freezes the function itself. With
            # it, it goes through a SavedModel, which takes longer and loses the weights.
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


def _compare(
    embedder: keras.Model, contents: dict[Variant, bytes], batches: Iterable[np.ndarray]
) -> tuple[dict[Variant, np.ndarray], np.ndarray]:
    """Returns the similarities [N] of each model to the network, and one of the images."""
    found: dict[Variant, list[np.ndarray]] = {name: [] for name in contents}
    image, compared, started = np.empty(0), 0, time.monotonic()
    for images in batches:
        image = images[:1]
        wanted = np.asarray(embedder(images, training=False))
        if not np.isfinite(wanted).all():
            raise TFLiteError(f"The embeddings of {embedder.name} are not all finite.")
        for name, content in contents.items():
            found[name].append(1 - np.square(_run(name, content, images) - wanted).sum(axis=1) / 2)
        compared += len(images)
        if compared >= MAX_COMPARED or time.monotonic() - started > MAX_SECONDS:
            break
    if not compared:
        raise ValueError("TFLite export needs at least one image to compare the models on.")
    return {name: np.concatenate(parts) for name, parts in found.items()}, image


def _run(name: str, content: bytes, images: np.ndarray) -> np.ndarray:
    try:
        return run_tflite(content, images)
    except (RuntimeError, ValueError) as error:
        raise TFLiteError(
            f"TFLite cannot run the {name} model that it made of the network: {error}. Choose "
            "another model.name, or set export.tflite = false."
        ) from error


def _check(models: dict[Variant, TFLiteModel], settings: ExportSettings) -> None:
    """Written so that NaN fails."""
    wanted: dict[Variant, float] = {
        "float": settings.min_similarity_float,
        "dynamic": settings.min_similarity_dynamic,
    }
    for name, least in wanted.items():
        found = models[name]
        if not found.min_similarity >= least:
            raise TFLiteError(
                f"{found.file} differs from the network: the least similarity of their embeddings "
                f"is {found.min_similarity:.6f} (mean {found.mean_similarity:.6f}), at least "
                f"{least} is wanted. Nothing was exported. Lower export.min_similarity_{name} if "
                "the loss is acceptable, or set export.tflite = false."
            )
