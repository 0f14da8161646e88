"""Versions as the Pusher leaves them, with a model whose distances are exact."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from modules.gate import OperatingPoint
from modules.images import decode_images
from modules.models import Embedder
from modules.settings import ImageSettings
from tests.components.triplet_gen.triplet_models import BrightestBlocks, brightest_blocks
from tests.modules.index.index_folders import write_flat_index
from tests.real_data import Row, digits

GALLERY = digits(6)
QUERIES = digits(1, start=100)


class Blocks(BrightestBlocks):
    """Decodes as the models of the Trainer do, whatever kind of file it is."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def embed(self, images):
        pixels = tf.round(decode_images(images, ImageSettings()) * 255)
        sums = tf.reduce_sum(tf.reshape(pixels, [-1, 7, 4, 7, 4]), axis=[2, 4])
        brightest = tf.math.top_k(tf.reshape(sums, [-1, 49]), k=4).indices
        return {"embedding": self.value * tf.reduce_sum(tf.one_hot(brightest, 49), axis=1)}


def write_model(folder: Path, value: float = 0.5) -> Path:
    """A SavedModel that embeds digits; another value makes another model."""
    model = Blocks(value)
    tf.saved_model.save(model, str(folder), signatures={"images": model.embed})
    return folder


def write_version(
    version: Path, model: Path, rows: list[Row] = GALLERY, *, thumbnails: bool = True
) -> Path:
    """Copies a model and writes an index of some digits beside it, and shows both at once."""
    aside = version.with_name(f".incoming-{version.name}")
    shutil.copytree(model, aside)
    vectors = Embedder(str(aside))([image for image, _, _ in rows])
    write_flat_index(
        aside,
        vectors,
        ids=[example_id for _, _, example_id in rows],
        labels=[label for _, label, _ in rows],
        thumbnails=[jpeg(image) for image, _, _ in rows] if thumbnails else None,
    )
    aside.rename(version)
    return version


def write_operating_point(version: Path, threshold: float = 0.75) -> OperatingPoint:
    """As the Evaluator writes it and the Pusher takes it along."""
    point = OperatingPoint(
        threshold=threshold,
        similarity=1 - threshold / 2,
        false_accept_rate=0.01,
        measured_false_accept_rate=1 / 128,
        true_accept_rate=3 / 4,
        threshold_interval=(0.5, 1.0),
        measured_false_accept_rate_interval=(1 / 256, 1 / 64),
        true_accept_rate_interval=None,
        level=0.95,
        impostor_pairs=5120,
        genuine_pairs=400,
        splits=["eval"],
    )
    (version / "operating_point.json").write_text(point.model_dump_json())
    return point


def jpeg(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).save(buffer, "JPEG")
    return buffer.getvalue()


def neighbours_by_loop(query: bytes, rows: list[Row], k: int) -> list[tuple[str, str, float]]:
    """Id, label and squared distance by the definition: 2 − 2·(shared blocks)/4."""
    blocks = brightest_blocks(query)
    found = sorted(
        (2 - 2 * len(blocks & brightest_blocks(image)) / 4, example_id.decode(), label.decode())
        for image, label, example_id in rows
    )
    return [(example_id, label, distance) for distance, example_id, label in found[:k]]


def moving_webp() -> bytes:
    """What the graph refuses, and ExampleGen converts: its first frame is a digit."""
    frame = Image.open(io.BytesIO(GALLERY[0][0])).convert("RGB")
    other = Image.fromarray(255 - np.asarray(frame))
    buffer = io.BytesIO()
    frame.save(buffer, "WEBP", save_all=True, append_images=[other], lossless=True)
    return buffer.getvalue()
