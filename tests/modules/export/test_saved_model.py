"""The SavedModel: loads in a bare TensorFlow process and gives the network's embeddings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.contract import make_example
from modules.export.saved_model import EmbeddingModule
from modules.images import decode_images
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings
from tests.real_data import digits

IMAGE = ImageSettings(height=32, width=32, channels=1)
ROWS = digits(1)
SMALL = ("small_cnn", "residual_cnn", "mobilenet_v3_small")
SERVE = """
import json, sys
import tensorflow as tf

paths, images, examples = json.load(open(sys.argv[1]))
found = {}
for name, path in paths.items():
    served = tf.saved_model.load(path).signatures
    found[name] = [
        served["images"](images=tf.io.decode_base64(images))["embedding"].numpy().tolist(),
        served["serving_default"](examples=tf.io.decode_base64(examples))["embedding"]
        .numpy().tolist(),
    ]
project = [name for name in sys.modules if name.split(".")[0] in ("modules", "pipeline", "tfx")]
print(json.dumps([found, project]))
"""


class Standardise(keras.layers.Layer):
    """A transform graph: decodes, then (p − 1/8) · 4."""

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        encoded = tf.reshape(inputs["image"], [-1])
        return {"image": (decode_images(encoded, IMAGE) - 0.125) / 0.25}


def base64(values: list[bytes]) -> list[str]:
    return [value.decode() for value in tf.io.encode_base64(values).numpy()]


@pytest.mark.parametrize(
    "names",
    [
        SMALL,
        pytest.param(("efficientnet_v2_b0", "resnet50_v2"), marks=pytest.mark.slow),
    ],
    ids=["small", "large"],
)
def test_a_bare_process_gets_the_networks_embeddings(names: tuple[str, ...], tmp_path: Path):
    """One process for several models, since importing TensorFlow takes seconds."""
    transform = Standardise()
    encoded = [image for image, _, _ in ROWS]
    pixels = transform({"image": tf.constant(encoded)[:, tf.newaxis]})["image"]
    paths, wanted = {}, {}
    for name in names:
        settings = ModelSettings(name=name, embedding_size=8, dropout=0.5, batch_norm=True)
        embedder = build_embedding_model(settings, IMAGE)
        wanted[name] = np.asarray(embedder(pixels, training=False))
        paths[name] = str(tmp_path / name)
        EmbeddingModule(embedder, transform).save(paths[name])
    examples = [make_example(*row).SerializeToString() for row in ROWS]
    request = tmp_path / "request.json"
    request.write_text(json.dumps([paths, base64(encoded), base64(examples)]))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(request)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found, project = json.loads(done.stdout.splitlines()[-1])
    assert project == []
    for name in names:
        for embeddings in np.array(found[name]):
            np.testing.assert_allclose(embeddings, wanted[name], atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_signatures_take_any_number_of_images_and_give_float32(tmp_path: Path) -> None:
    embedder = build_embedding_model(ModelSettings(embedding_size=8), IMAGE)
    EmbeddingModule(embedder, Standardise()).save(str(tmp_path))
    served = tf.saved_model.load(str(tmp_path)).signatures
    assert set(served) == {"serving_default", "images", "nearest", "match"}
    for count in (1, 3):
        found = served["images"](images=tf.constant([image for image, _, _ in ROWS[:count]]))
        assert found["embedding"].dtype == tf.float32
        assert found["embedding"].shape == (count, 8)
