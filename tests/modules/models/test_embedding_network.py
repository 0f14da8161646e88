"""The registry of embedding networks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from modules.images import decode_images
from modules.images.pixel_range import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    PixelRange,
    find_pixel_range,
)
from modules.models.backbones import BACKBONES, GroupedByChannel, build_backbone, small_cnn
from modules.models.embedding_network import backbone_of, backbone_variables, build_embedding_model
from modules.models.standard import WeightsError
from modules.settings import KERAS_HUB, ImageSettings, ModelSettings
from tests.real_data import digits

DIGIT = ImageSettings(height=28, width=28, channels=1)
SMALL = ImageSettings(height=32, width=32, channels=1)
OWN = [name for name in BACKBONES if not ModelSettings(name=name).published]


@functools.cache
def pixels(channels: int = 1) -> np.ndarray:
    """Real digits of 32 × 32, standardised with round numbers."""
    image = ImageSettings(height=32, width=32, channels=channels)
    encoded = tf.constant([image for image, _, _ in digits(1)])
    return (decode_images(encoded, image).numpy() - 0.125) / 0.25


RANGE = PixelRange(black=(-0.5,), white=(3.5,))  # of the pixels above: (0 − 1/8) · 4, (1 − 1/8) · 4


def embed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


def weights_file(name: str, path: Path) -> Path:
    """Weights of an untrained backbone, as a file."""
    backbone_of(build_embedding_model(ModelSettings(name=name), SMALL)).save_weights(path)
    return path


def test_every_configurable_name_is_registered() -> None:
    assert set(get_args(ModelSettings.model_fields["name"].annotation)) == {*BACKBONES, KERAS_HUB}


def test_what_the_settings_say_of_a_network_is_true() -> None:
    for name, entry in BACKBONES.items():
        assert ModelSettings(name=name).published == (entry.standard is not None)


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, "float32") for name in BACKBONES]
    + [(name, "mixed_bfloat16") for name in (*OWN, "mobilenet_v3_small")],
)
def test_embeddings_are_unit_vectors_in_float32(name: str, precision: str) -> None:
    settings = ModelSettings(name=name, embedding_size=16, dropout=0.1, batch_norm=True)
    model = build_embedding_model(settings, SMALL, precision)
    embeddings = embed(model, pixels())
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (10, 16)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def test_the_policy_of_the_process_is_left_alone() -> None:
    before = keras.config.dtype_policy().name
    build_embedding_model(ModelSettings(), DIGIT, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == before


def test_an_all_zero_feature_vector_gives_no_nan() -> None:
    model = build_embedding_model(ModelSettings(), DIGIT)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert np.isfinite(model(np.zeros((1, 28, 28, 1)))).all()


def test_weights_move_between_precisions_and_runs() -> None:
    """Trained in bfloat16, served in float32; the seed alone makes the first weights."""
    settings = ModelSettings(name="residual_cnn", dropout=0.1, batch_norm=True)
    keras.utils.set_random_seed(1)
    trained = build_embedding_model(settings, SMALL, "mixed_bfloat16")
    keras.utils.set_random_seed(1)
    again = build_embedding_model(settings, SMALL)
    np.testing.assert_array_equal(trained.get_weights()[0], again.get_weights()[0])
    served = build_embedding_model(settings, SMALL)
    served.set_weights(trained.get_weights())
    np.testing.assert_allclose(embed(served, pixels()), embed(trained, pixels()), atol=0.03)


@pytest.mark.parametrize("name", [*OWN, "mobilenet_v3_small"])
def test_images_below_the_least_size_are_refused_with_the_remedy(name: str) -> None:
    settings = ModelSettings(name=name, embedding_size=8)
    least = settings.least_image_size
    image = ImageSettings(height=least, width=least, channels=1)
    model = build_embedding_model(settings, image)
    assert np.isfinite(embed(model, np.zeros((1, least, least, 1), np.float32))).all()
    smaller = image.model_copy(update={"width": least - 1})
    with pytest.raises(ValueError, match=rf"{name}.* at least {least} × {least} .*image\.height"):
        build_embedding_model(settings, smaller)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "small_cnn", "weights": "imagenet"}, "no ImageNet weights of small_cnn"),
        ({"trainable": "head"}, "would keep random weights; set weights"),
        ({"backbone_learning_rate_factor": 0.5}, "no effect with trainable = 'all'"),
        ({"dropout": 1.0}, "less than 1"),
        ({"embedding_size": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSettings.model_validate(values)


def test_settings_survive_the_way_into_a_node() -> None:
    settings = ModelSettings(weights="file.h5", trainable="fine_tune", dropout=0.5)
    for value in (settings, ModelSettings()):
        assert ModelSettings.model_validate(value.model_dump(mode="json")) == value


def test_a_weights_file_is_loaded_and_frozen_or_not(tmp_path: Path) -> None:
    path = weights_file("residual_cnn", tmp_path / "backbone.weights.h5")

    def build(trainable: str) -> keras.Model:
        settings = ModelSettings(
            name="residual_cnn",
            weights=str(path),
            trainable=trainable,
            embedding_size=8,
            batch_norm=False,
        )
        return build_embedding_model(settings, SMALL)

    frozen, slow, free = build("head"), build("fine_tune"), build("all")
    for first, second in zip(
        backbone_of(frozen).get_weights(), backbone_of(free).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)
    assert [v.path for v in frozen.trainable_variables] == ["projection/kernel", "projection/bias"]
    assert backbone_variables(frozen) == []
    for model in (slow, free):
        assert len(backbone_variables(model)) == len(model.trainable_variables) - 2 > 0


@pytest.mark.parametrize("trainable", ["head", "fine_tune", "all"])
def test_a_training_step_changes_what_it_may_change(trainable: str, tmp_path: Path) -> None:
    """Pre-trained statistics of batch normalisation stay unless everything is trained."""
    path = weights_file("residual_cnn", tmp_path / "backbone.weights.h5")
    settings = ModelSettings(
        name="residual_cnn",
        weights=str(path),
        trainable=trainable,
        embedding_size=8,
        batch_norm=False,
    )
    model = build_embedding_model(settings, SMALL)
    network = backbone_of(model)
    statistics = [v for v in network.variables if "moving" in v.path]
    learnt = [v for v in network.variables if "kernel" in v.path]
    before = [[v.numpy() for v in group] for group in (statistics, learnt, model.variables[-2:])]
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    model.train_on_batch(pixels(), np.eye(10, 8, dtype=np.float32))
    after = [[v.numpy() for v in group] for group in (statistics, learnt, model.variables[-2:])]
    changed = [
        any((x != y).any() for x, y in zip(*groups, strict=True))
        for groups in zip(before, after, strict=True)
    ]
    assert changed == [trainable == "all", trainable != "head", True]


APPLICATIONS = {
    "efficientnet_v2_b0": (keras.applications.EfficientNetV2B0, lambda raw: raw),
    "mobilenet_v3_small": (keras.applications.MobileNetV3Small, lambda raw: raw),
    "convnext_tiny": (keras.applications.ConvNeXtTiny, lambda raw: raw),
    "mobilenet_v3_large": (keras.applications.MobileNetV3Large, lambda raw: raw),
    "resnet50_v2": (
        keras.applications.ResNet50V2,
        lambda raw: keras.applications.resnet_v2.preprocess_input(raw.copy()),
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v3_small",
        "resnet50_v2",
        pytest.param("efficientnet_v2_b0", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_large", marks=pytest.mark.slow),
    ],
)
def test_published_weights_see_the_pixels_that_they_were_trained_on(
    name: str, tmp_path: Path
) -> None:
    """Against keras.applications itself: its `.h5` format, its preprocessing, raw pixels 0…255."""
    application, preprocess = APPLICATIONS[name]
    reference = application(include_top=False, pooling="avg", weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "notop.h5"
    reference.save(path)
    settings = ModelSettings(name=name, weights=str(path), trainable="head")
    model = build_embedding_model(settings, SMALL, pixels=RANGE)
    features = keras.Model(model.input, model.get_layer("projection").input)
    raw = np.repeat((pixels() * 0.25 + 0.125) * 255, 3, axis=-1)
    wanted = embed(reference, preprocess(raw))
    assert wanted.std(axis=0).max() > 0  # it sees differences between digits at all
    np.testing.assert_allclose(embed(features, pixels()), wanted, rtol=1e-3, atol=1e-5)


def test_without_a_range_pixels_count_as_standardised_with_imagenets_statistics(
    tmp_path: Path,
) -> None:
    path = weights_file("mobilenet_v3_small", tmp_path / "backbone.weights.h5")
    settings = ModelSettings(name="mobilenet_v3_small", weights=str(path))
    image = ImageSettings(height=32, width=32, channels=3)
    first = build_embedding_model(settings, image)
    black = tuple(-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True))
    white = tuple((1 - m) / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True))
    second = build_embedding_model(settings, image, pixels=PixelRange(black, white))
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(embed(first, pixels(3)), embed(second, pixels(3)))


def test_a_missing_weights_file_is_an_error_that_names_it() -> None:
    settings = ModelSettings(weights="nowhere/weights.h5")
    with pytest.raises(WeightsError, match=r"no file nowhere/weights\.h5.* 'none', 'imagenet'"):
        build_backbone(settings, DIGIT)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_of_another_network_are_an_error_that_names_both(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"other{suffix}"
    other = build_backbone(ModelSettings(name="mobilenet_v3_small"), SMALL)
    (other.save_weights if suffix == ".weights.h5" else other.save)(path)
    settings = ModelSettings(name="residual_cnn", weights=str(path))
    with pytest.raises(WeightsError, match=rf"{path} does not hold the weights of residual_cnn"):
        build_backbone(settings, SMALL)


def test_a_file_that_holds_no_weights_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.weights.h5"
    path.write_text("not HDF5")
    with pytest.raises(WeightsError, match="does not hold the weights of small_cnn"):
        build_backbone(ModelSettings(weights=str(path)), DIGIT)


def test_a_download_that_fails_says_how_to_do_without(tmp_path: Path, monkeypatch) -> None:
    """A proxy that refuses stands for the missing internet; Keras tries for real."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    settings = ModelSettings(name="mobilenet_v3_small", weights="imagenet")
    with pytest.raises(WeightsError, match=r"mobilenet_v3_small could not be .*set model\.weights"):
        build_backbone(settings, SMALL)


def test_the_range_of_a_transform_is_found() -> None:
    image = ImageSettings(height=5, width=4, channels=3)
    mean, scale = np.array([0.5, 0.25, 0.0], np.float32), np.array([4.0, 2.0, 1.0], np.float32)

    def transform(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"image": (decode_images(tf.reshape(inputs["image"], [-1]), image) - mean) * scale}

    found = find_pixel_range(transform, image)
    np.testing.assert_allclose(found.black, [-1 / 2 * 4, -1 / 4 * 2, 0 * 1], atol=1e-6)
    np.testing.assert_allclose(found.white, [1 / 2 * 4, 3 / 4 * 2, 1 * 1], atol=1e-6)


@pytest.mark.parametrize("function", [tf.sqrt, tf.zeros_like])
def test_a_transform_that_cannot_be_undone_is_an_error(function) -> None:
    def transform(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"image": function(decode_images(tf.reshape(inputs["image"], [-1]), DIGIT))}

    with pytest.raises(ValueError, match=r"not map every channel linearly .*model\.weights"):
        find_pixel_range(transform, DIGIT)


@pytest.mark.parametrize("shape", [(28, 29, 1), (30, 31, 3), (10, 13, 1)])
def test_small_cnn_is_the_classic_of_the_tutorials(shape: tuple[int, int, int]) -> None:
    """Convolutions with bias and ReLU, each before its pooling: the same function and gradient."""
    ours = small_cnn(shape)
    classic = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
        ]
    )
    rng = np.random.default_rng(0)
    ours.set_weights([rng.normal(0, 0.1, w.shape) for w in classic.get_weights()])
    classic.set_weights(ours.get_weights())
    images = rng.normal(size=(4, *shape)).astype(np.float32)
    results = []
    for model in (ours, classic):
        with tf.GradientTape() as tape:
            features = model(images)
            loss = tf.reduce_sum(tf.square(features))
        results.append([features, *tape.gradient(loss, model.trainable_variables)])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_convolution_of_each_channel_gives_what_keras_gives(padding: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 6)).astype(np.float32)
    layer = keras.layers.Conv2D(6, 5, groups=6, padding=padding, bias_initializer="normal")
    expected = layer(x)
    layer.__class__ = GroupedByChannel
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_convnext_has_none_of_the_slow_kind() -> None:
    network = build_backbone(
        ModelSettings(name="convnext_tiny"), ImageSettings(height=32, width=32)
    )
    grouped = [x for x in network.layers if getattr(x, "groups", 1) > 1]
    assert len(grouped) == 3 + 3 + 9 + 3  # a block each
    assert all(isinstance(x, GroupedByChannel) for x in grouped)
