"""Backbones of KerasHub: loaded, adapted, and gone without a trace from what is exported."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from modules.export.tflite import TFLiteError, export_tflite
from modules.images import PixelRange
from modules.models import add_lora, build_embedding_model, plain_weights, split_frozen
from modules.models.embedding_network import backbone_of
from modules.models.standard import WeightsError
from modules.settings import ImageSettings, ModelSettings
from pipeline.config import PROJECT
from tests.modules.models.preset_folders import FAMILIES, SIDE, save_preset

IMAGE = ImageSettings(height=SIDE, width=SIDE, channels=3)
RANGE = PixelRange(black=(-0.5,), white=(3.5,))
RAW = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.float32)
PIXELS = RAW / 255 * 4 - 0.5  # as the transform graph gives them


@pytest.fixture(scope="module")
def presets(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("presets")
    return {family: save_preset(family, folder) for family in FAMILIES}


def settings(preset: str, **changes) -> ModelSettings:
    return ModelSettings(
        **{"name": "keras_hub", "preset": preset, "trainable": "head", "embedding_size": 8}
        | changes
    )


def embed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_sees_what_its_own_preprocessing_would_give_it(presets, family: str) -> None:
    """Against KerasHub itself, on raw pixels 0…255."""
    import keras_hub

    tower = keras_hub.models.Backbone.from_preset(presets[family])
    converter = keras_hub.layers.ImageConverter.from_preset(presets[family])
    tower = getattr(tower, "vision_encoder", tower)
    inputs = converter(RAW)
    named = isinstance(tower.input, dict)
    wanted = embed(tower, {next(iter(tower.input)): inputs} if named else inputs)
    wanted = wanted if family == "siglip2" else wanted[:, 0]
    assert wanted.std(axis=0).max() > 0.1
    embedder = build_embedding_model(settings(presets[family]), IMAGE, pixels=RANGE)
    features, _ = split_frozen(embedder)
    np.testing.assert_allclose(embed(features, PIXELS), wanted, rtol=1e-3, atol=1e-4)


def test_images_of_another_size_are_resized_to_that_of_the_preset(presets) -> None:
    """A plain colour stays one; grey images are repeated."""
    model = settings(presets["vit"])
    plain = np.full((1, 40, 20, 1), 0.7, np.float32)
    other = build_embedding_model(model, ImageSettings(height=40, width=20), pixels=RANGE)
    same = build_embedding_model(model, IMAGE, pixels=RANGE)
    same.set_weights(other.get_weights())
    square = np.full((1, SIDE, SIDE, 3), 0.7, np.float32)
    np.testing.assert_allclose(embed(other, plain), embed(same, square), atol=1e-5)


@pytest.mark.parametrize("family", ["dinov2", "dinov3", "siglip2"])
def test_lora_starts_as_the_preset_and_ends_as_plain_weights(presets, family: str) -> None:
    model = settings(presets[family], trainable="lora")
    embedder, served = (build_embedding_model(model, IMAGE, pixels=RANGE) for _ in range(2))
    served.set_weights(embedder.get_weights())
    add_lora(embedder, 2)
    start = embed(served, PIXELS)
    np.testing.assert_allclose(embed(embedder, PIXELS), start, atol=1e-5)
    learns = [v.path.rpartition("/")[2] for v in backbone_of(embedder).trainable_variables]
    assert set(learns) == {"bias", "lora_kernel_a", "lora_kernel_b"}
    for variable in embedder.trainable_variables:
        variable.assign_add(np.full(variable.shape, 0.1, np.float32))
    served.set_weights(plain_weights(embedder))
    assert len(served.weights) < len(embedder.weights)
    np.testing.assert_allclose(embed(served, PIXELS), embed(embedder, PIXELS), atol=1e-5)
    assert np.abs(embed(served, PIXELS) - start).max() > 1e-3


@pytest.mark.parametrize("family", ["vit", "siglip2"])
def test_the_precision_is_that_of_the_training(presets, family: str) -> None:
    model = settings(presets[family])
    half = build_embedding_model(model, IMAGE, "mixed_bfloat16", RANGE)
    assert backbone_of(half).output.dtype == "bfloat16"
    assert {variable.dtype for variable in half.variables} <= {"float32", "int64"}  # positions
    whole = build_embedding_model(model, IMAGE, pixels=RANGE)
    whole.set_weights(half.get_weights())
    np.testing.assert_allclose(embed(half, PIXELS), embed(whole, PIXELS), atol=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_tflite_converts_every_family_or_says_why(presets, family: str, tmp_path) -> None:
    embedder = build_embedding_model(settings(presets[family]), IMAGE, pixels=RANGE)
    try:
        report = export_tflite(embedder, str(tmp_path), [PIXELS])
    except TFLiteError as error:
        assert "export.tflite = false" in str(error)  # noqa: PT017
    else:
        assert report.models["float"].min_similarity > 0.999


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "keras_hub"}, "needs a preset"),
        ({"preset": "folder"}, "do not go together"),
        ({"weights": "preset"}, "is for name = 'keras_hub'"),
        ({"name": "keras_hub", "preset": "folder", "weights": "imagenet"}, "no ImageNet weights"),
        ({"weights": "file.h5", "trainable": "lora"}, "'lora' is for name = 'keras_hub'"),
        ({"lora_rank": 4}, "lora_rank has no effect with trainable = 'all'"),
        (
            {"name": "keras_hub", "preset": "folder", "weights": "none", "trainable": "head"},
            "would keep random weights",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSettings.model_validate(values)


def test_the_weights_are_those_of_the_preset_unless_others_are_named(presets, tmp_path) -> None:
    model = settings(presets["vit"])
    assert model.weights == "preset"
    assert ModelSettings.model_validate(model.model_dump(mode="json")) == model
    path = tmp_path / "backbone.weights.h5"
    random = settings(presets["vit"], weights="none", trainable="all")
    keras.utils.set_random_seed(1)
    saved = backbone_of(build_embedding_model(random, IMAGE))
    saved.save_weights(path)
    loaded = backbone_of(build_embedding_model(settings(presets["vit"], weights=str(path)), IMAGE))
    for first, second in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_preset_that_cannot_be_had_is_an_error_that_names_it(tmp_path) -> None:
    with pytest.raises(WeightsError, match=r"no preset in .*nowhere: it has no config\.json"):
        build_embedding_model(settings(f"{tmp_path}/nowhere"), IMAGE)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="cannot be loaded as an image backbone"):
        build_embedding_model(settings(str(tmp_path)), IMAGE)


@pytest.mark.slow
def test_a_download_that_fails_says_how_to_do_without(tmp_path, monkeypatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    # Five more tries wait for 1 + 2 + 4 + 8 + 8 seconds.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(WeightsError, match=r"hf://keras/none cannot be .*Without internet"):
        build_embedding_model(settings("hf://keras/none"), IMAGE)


def test_a_preset_of_another_file_system_is_copied_down(presets) -> None:
    """TensorFlow's own in-memory one stands for gs://."""
    remote = "ram://presets/vit"
    tf.io.gfile.makedirs(remote)
    for file in Path(presets["vit"]).iterdir():
        tf.io.gfile.copy(str(file), f"{remote}/{file.name}", overwrite=True)
    first, second = (
        backbone_of(build_embedding_model(settings(place), IMAGE)).get_weights()
        for place in (remote, presets["vit"])
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_keras_hub_is_loaded_only_where_a_preset_is_used() -> None:
    script = (
        "import sys, pipeline.definition, modules.trainer\n"
        "from modules.models import build_embedding_model\n"
        "from modules.settings import ImageSettings, ModelSettings\n"
        "build_embedding_model(ModelSettings(), ImageSettings())\n"
        "print([n for n in ('keras_hub', 'kagglehub') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
