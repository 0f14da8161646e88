"""The names that settings allow are the names that the code knows."""

from __future__ import annotations

from typing import get_args

import pytest

from modules.losses.distances import DISTANCES
from modules.losses.miners import MINERS
from modules.losses.terms import TERMS
from modules.models.backbones import BACKBONES
from modules.settings import KERAS_HUB, LossSettings, ModelSettings
from modules.settings.loss import OPTIONS


def choices(annotation: object) -> set[object]:
    """The names of a field; one that also takes other text, or none, has them further down."""
    parts = get_args(annotation)
    return {part for part in parts if isinstance(part, str)}.union(*map(choices, parts))


@pytest.mark.parametrize(
    ("settings", "field", "known"),
    [
        (LossSettings, "loss", {*TERMS, *OPTIONS}),
        (LossSettings, "distance", {*DISTANCES}),
        # Neither chooses rows: `none` takes the triplets of the batch, `all` takes every one.
        (LossSettings, "mining", {*MINERS, "none", "all"}),
        (ModelSettings, "name", {*BACKBONES, KERAS_HUB}),
    ],
)
def test_settings_and_registry_have_the_same_names(settings, field, known) -> None:
    assert choices(settings.model_fields[field].annotation) == known
