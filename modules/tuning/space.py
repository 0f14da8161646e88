"""What a search may change: the few keys that matter most, around the values that are there."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from modules.settings import ImageLimits, ImageSettings, ModelSettings, TrainingSettings, loss_keys

Tables = dict[str, dict[str, Any]]

NAME, DROPOUT = "model.name", "model.dropout"
SIZE = "image.size"
LOSS, MINING, MARGIN = "training.loss", "training.mining", "training.margin"
RATE = "training.learning_rate"
AUGMENTATION = "augmentation"  # a factor, of all keys that say how far images are changed

_SMALL = ("small_cnn", "residual_cnn")
_PUBLISHED = ("mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_b0")
_OF_TRIPLETS = ("margin", "soft_margin")
# `proxy_anchor` needs longer than the trials of a search, so only who has it keeps it.
_LOSSES = ("margin", "multi_similarity", "supervised_contrastive")
# Without `hard`, which collapses unless a warm-up comes first that short trials never end.
_MININGS = ("semi_hard", "distance_weighted", "easy_positive")
_DROPOUTS = (0.0, 0.1, 0.3)
_MARGIN_FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)
_MARGIN, _LARGEST_DISTANCE = 0.2, {"squared_l2": 4.0, "l2": 2.0, "cosine": 2.0}
_RATE_FACTOR = 4.0  # down and up
_STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
# What the factor scales where no image is changed yet, and the most that each key may be.
_SLIGHT = {"max_shift": 0.1, "max_rotation": 0.03, "max_zoom": 0.1}
_MOST = {
    "max_shift": 0.5, "max_rotation": 0.5, "max_zoom": 0.5, "max_shear": 0.5,
    "max_crop": 0.92, "max_stretch": 1.0, "max_brightness": 2.0, "max_contrast": 0.8,
    "max_saturation": 1.0, "max_hue": 0.5, "max_erased": 0.5,
}  # fmt: skip
_SIZE_STEP, _BY = 4, "×"


def image_sizes(image: ImageSettings, limits: ImageLimits) -> list[ImageSettings]:
    """The sizes to try where the configuration leaves it open.

    Args:
        image: What Transform chose.
        limits: Of the network. A side at its most says that the images of the data are larger.

    Returns:
        The chosen size; three quarters of it, if the network can take that; and half as much
        again, if images were scaled down to the chosen size.
    """
    factors = [0.75] + ([1.5] if max(image.height, image.width) >= limits.most else [])
    sizes = [image]
    for factor in factors:
        sides = [
            max(_SIZE_STEP, round(factor * side / _SIZE_STEP) * _SIZE_STEP)
            for side in (image.height, image.width)
        ]
        size = image.model_copy(update={"height": sides[0], "width": sides[1]})
        if min(sides) >= limits.least and size not in sizes:
            sizes.append(size)
    return sizes


def search_space(
    model: ModelSettings,
    training: TrainingSettings,
    sizes: Sequence[ImageSettings],
    *,
    keep_network: bool = False,
) -> keras_tuner.HyperParameters:
    """The space of a search; its default values are the settings that are there.

    A key has one value where nothing else would be accepted, or make sense: a weights file fits
    one network; a loss or `swap` of one's own choice is kept.

    Args:
        model: Of the configuration.
        training: Of the configuration.
        sizes: Of the images, the present one first.
        keep_network: The network has to stay as it is, since trainings start from earlier models.

    Returns:
        KerasTuner's description of it, for `apply_values`.
    """
    space = keras_tuner.HyperParameters()

    def choice(name: str, own: Any, others: Sequence[Any]) -> None:
        values = [own, *(value for value in others if value != own)]
        if isinstance(own, float):
            values = sorted(values)
        space.Choice(name, values, default=own, ordered=isinstance(own, float))

    choice(NAME, model.name, [] if keep_network else _networks(model, sizes))
    choice(SIZE, size_name(sizes[0]), [size_name(size) for size in sizes[1:]])
    choice(DROPOUT, model.dropout, _DROPOUTS)
    rate = training.learning_rate
    space.Float(
        RATE, rate / _RATE_FACTOR, min(1.0, rate * _RATE_FACTOR), sampling="log", default=rate
    )
    choice(AUGMENTATION, 1.0 if _augmentation(training) else 0.0, _STRENGTHS)
    searched = (*_LOSSES, "soft_margin")
    free = training.loss in searched and not training.swap
    choice(LOSS, training.loss, _LOSSES if free else [])
    losses = [loss for loss in _OF_TRIPLETS if loss == training.loss or free]
    if losses:
        with space.conditional_scope(LOSS, losses):
            choice(MINING, training.mining or _MININGS[0], [] if training.swap else _MININGS)
    if "margin" in losses:
        with space.conditional_scope(LOSS, ["margin"]):
            margin = training.margin or _MARGIN
            most = _LARGEST_DISTANCE[training.distance or "squared_l2"]
            choice(MARGIN, margin, sorted({min(most, _tidy(f * margin)) for f in _MARGIN_FACTORS}))
    return space


def apply_values(
    given: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, Any],
    own: Mapping[str, Any],
    training: TrainingSettings,
) -> Tables:
    """Writes a point of the space into the tables of a configuration.

    Args:
        given: The tables as they were given, such as `{"training": {"steps": 400}}`.
        values: By name of the space, those that are active.
        own: The values of the configuration itself.
        training: Of the configuration itself.

    Returns:
        A copy of the tables. What is as in the configuration is left as it was given; keys that
        have no effect with another loss or mining are gone.
    """
    tables: Tables = copy.deepcopy({name: dict(table) for name, table in given.items()})
    changed = {name: value for name, value in values.items() if value != own.get(name)}

    def table(name: str) -> dict[str, Any]:
        return tables.setdefault(name, {})

    for name, value in changed.items():
        place, _, key = name.partition(".")
        if name not in (SIZE, AUGMENTATION):
            table(place)[key] = _tidy(value) if name == RATE else value
    if AUGMENTATION in changed:
        for key, value in (_augmentation(training) or _SLIGHT).items():
            most = max(_MOST[key], value)
            table("training")[key] = min(most, _tidy(value * changed[AUGMENTATION]))
    if changed.keys() & {NAME, SIZE} and SIZE in values:
        # Another network would choose another size; the trial is of this one.
        height, width = map(int, values[SIZE].split(_BY))
        table("image").update(height=height, width=width)
    if changed.keys() & {LOSS, MINING}:
        _drop_idle_keys(table("training"))
    return tables


def size_name(size: ImageSettings) -> str:
    """As `28×28`."""
    return f"{size.height}{_BY}{size.width}"


def _networks(model: ModelSettings, sizes: Sequence[ImageSettings]) -> list[str]:
    if model.weights not in ("none", "imagenet"):
        return []
    names = _SMALL if model.weights == "none" else _PUBLISHED
    least = min(min(size.height, size.width) for size in sizes)
    others = (model.model_copy(update={"name": name}) for name in names)
    return [other.name for other in others if other.least_image_size <= least]


def _augmentation(training: TrainingSettings) -> dict[str, float]:
    """The keys that change images now."""
    return {key: value for key in _MOST if (value := getattr(training, key))}


def _drop_idle_keys(training: dict[str, Any]) -> None:
    loss = training.get("loss", "margin")
    for key in loss_keys() - loss_keys(loss):
        training.pop(key, None)
    if training.get("mining") != "hard":
        training.pop("warmup_steps", None)


def _tidy(value: float) -> float:
    """Three digits are enough for whoever reads the file."""
    return float(f"{value:.3g}")
