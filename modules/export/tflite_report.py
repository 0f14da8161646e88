"""What is known of the TFLite models of a SavedModel: `assets.extra/tflite.json`."""

from __future__ import annotations

import os
from typing import Literal

from modules.settings import Fit, Settings
from modules.storage import read_text

REPORT = "tflite.json"
# Weights as trained, or quantised to 8 bits.
Variant = Literal["float", "dynamic"]


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
    `input_fit`, `input_background`: how the device brings an image to that size, see
    `modules.images.fit`.
    """

    input_shape: tuple[int, int, int]
    input_black: tuple[float, ...] | None
    input_white: tuple[float, ...] | None
    input_fit: Fit | None = None
    input_background: str | None = None
    embedding_size: int
    compared_images: int
    models: dict[Variant, TFLiteModel]


def extra_assets(serving_model_dir: str) -> str:
    """The folder of a SavedModel for files that travel with it."""
    return os.path.join(serving_model_dir, "assets.extra")  # noqa: PTH118


def read_tflite_report(folder: str) -> TFLiteReport | None:
    """Reads `tflite.json`, None if there is none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return TFLiteReport.model_validate_json(read_text(os.path.join(folder, REPORT)))  # noqa: PTH118
    except FileNotFoundError:
        return None
