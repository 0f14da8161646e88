"""Every point of the space is a configuration, and the first one is the present one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from modules.settings import ImageLimits, ImageSettings, ImageTable, ModelSettings, TrainingSettings
from modules.tuning import Halving, apply_values, image_sizes, search_space
from tests.modules.training.training_runs import PLAIN

SIZES = [ImageSettings(height=28, width=28), ImageSettings(height=20, width=20)]
LARGE = [ImageSettings(height=side, width=side) for side in (96, 72, 144)]
TRAINING: list[dict[str, Any]] = [
    {},
    {"steps": 400, "max_shift": 0.4, "max_rotation": 0.04, "learning_rate": 0.9},
    {"mining": "none", "batch_size": 60},
    {"mining": "hard", "warmup_steps": 50, "swap": True},
    {"mining": "hard", "warmup_steps": 50},
    {"mining": "all", "swap": True, "distance": "cosine", "margin": 2.0},
    {"loss": "soft_margin", "distance": "l2", "memory": 100, "memory_from_step": 5},
    {"loss": "margin", "margin": 4.0, "memory": 100, "mining": "distance_weighted"},
    {"loss": "multi_similarity", "alpha": 1.0, "epsilon": 0.2},
    {"loss": "supervised_contrastive", "temperature": 0.3},
    {"loss": "proxy_anchor", "margin": 0.3},
    {"batches": "classes", "classes_per_batch": 8, "max_zoom": 0.9, "max_brightness": 3.0},
    {"max_crop": 0.8, "max_stretch": 0.33, "max_saturation": 0.4, "max_hue": 0.1},
    {"max_erased": 0.2, "max_crop": 0.95},
    {"max_shift": 1.0, "max_rotation": 0.9, "max_shear": 0.95, "max_contrast": 1.0},
]  # fmt: skip
MODELS: list[tuple[dict[str, Any], list[ImageSettings]]] = [
    ({}, SIZES),
    ({"name": "residual_cnn", "dropout": 0.25}, SIZES),
    ({"name": "small_cnn"}, [ImageSettings(height=10, width=10)]),
    ({"name": "resnet50_v2"}, LARGE),
    ({"name": "resnet50_v2", "weights": "imagenet", "trainable": "head"}, LARGE),
    ({"name": "small_cnn", "weights": "a.weights.h5", "trainable": "fine_tune"}, SIZES),
]


def points(space, seed: int, count: int) -> list[dict[str, Any]]:
    """The first ones of a search; the first of all is the configuration itself."""
    oracle = Halving(space, seed, 10_000, clock=lambda: 0.0)
    answers = [oracle.populate_space(str(number)) for number in range(count)]
    return [answer["values"] for answer in answers if answer["status"] == "RUNNING"]


@pytest.mark.parametrize("training_table", TRAINING)
@pytest.mark.parametrize(("model_table", "sizes"), MODELS)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_every_point_is_accepted_and_has_its_values(training_table, model_table, sizes, seed):
    model = ModelSettings.model_validate(model_table)
    training = TrainingSettings.model_validate(training_table)
    space = search_space(model, training, sizes)
    given_tables = {"model": model_table, "training": training_table}
    own, *others = points(space, seed, 8)
    assert apply_values(given_tables, own, own, training) == given_tables
    for values in others:
        tables = apply_values(given_tables, values, own, training)
        chosen = ModelSettings.model_validate(tables["model"])
        trained = TrainingSettings.model_validate(tables["training"])
        image = ImageTable.model_validate(tables.get("image", {}))
        chosen.check_image(image)
        assert chosen.name == values["model.name"]
        assert chosen.dropout == values["model.dropout"]
        assert chosen.weights == model.weights
        assert trained.loss == values["training.loss"]
        assert trained.mining == values.get("training.mining", trained.mining)
        assert trained.margin == values.get("training.margin", trained.margin)
        assert trained.learning_rate == pytest.approx(values["training.learning_rate"], rel=5e-3)
        assert trained.steps == training.steps
        if values["image.size"] != own["image.size"] or chosen.name != model.name:
            assert f"{image.height}×{image.width}" == values["image.size"]
        for key in (
            "max_shift",
            "max_rotation",
            "max_shear",
            "max_brightness",
            "max_crop",
            "max_erased",
        ):
            now, before = getattr(trained, key), getattr(training, key)
            if before:
                assert now <= before * max(1, values["augmentation"]) * 1.01
                assert (now == 0) == (values["augmentation"] == 0)


def test_what_one_has_chosen_for_a_reason_is_kept():
    def values_of(model: dict[str, Any], training: dict[str, Any], name: str, **options) -> set:
        tables = ModelSettings.model_validate(model), TrainingSettings.model_validate(training)
        space = search_space(*tables, SIZES, **options)
        return {values.get(name) for values in points(space, 0, 40)}

    of_file = {"weights": "a.weights.h5"}
    assert values_of(of_file, {}, "model.name") == {"small_cnn"}
    assert values_of({}, {}, "model.name") == {"small_cnn", "residual_cnn"}
    assert values_of({}, {}, "model.name", keep_network=True) == {"small_cnn"}
    swap = {"mining": "all", "swap": True}
    assert values_of({}, swap, "training.mining") == {"all"}
    assert values_of({}, swap, "training.loss") == {"margin"}
    assert values_of({}, {"loss": "proxy_anchor"}, "training.loss") == {"proxy_anchor"}


def test_the_given_tables_stay_as_they_are():
    given_tables = {"training": {"loss": "multi_similarity", "alpha": 1.0}}
    training = TrainingSettings(loss="multi_similarity", alpha=1.0)
    changed = apply_values(
        given_tables,
        {"training.loss": "margin", "training.margin": 0.3},
        {"training.loss": "multi_similarity"},
        training,
    )
    assert changed == {"training": {"loss": "margin", "margin": 0.3}}
    assert given_tables == {"training": {"loss": "multi_similarity", "alpha": 1.0}}


def test_augmentation_is_one_knob():
    training = TrainingSettings(**PLAIN | {"max_shift": 0.1, "max_contrast": 0.2})
    half = apply_values({}, {"augmentation": 0.5}, {"augmentation": 1.0}, training)
    assert half == {"training": {"max_shift": 0.05, "max_contrast": 0.1}}
    plain = TrainingSettings(**PLAIN)
    none_yet = apply_values({}, {"augmentation": 0.5}, {"augmentation": 0.0}, plain)
    assert none_yet == {"training": {"max_shift": 0.05, "max_rotation": 0.015, "max_zoom": 0.05}}


@pytest.mark.parametrize(
    ("image", "limits", "expected"),
    [
        ((28, 28), (10, 64), [(28, 28), (20, 20)]),
        ((64, 48), (10, 64), [(64, 48), (48, 36), (96, 72)]),
        ((10, 10), (10, 64), [(10, 10)]),
        ((32, 40), (32, 96), [(32, 40)]),
    ],
)
def test_sizes_to_try(image, limits, expected):
    chosen = ImageSettings(height=image[0], width=image[1])
    sizes = image_sizes(chosen, ImageLimits(least=limits[0], most=limits[1]))
    assert [(size.height, size.width) for size in sizes] == expected
