"""The size that is chosen for images of a typical size."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, strategies as st

from components.transform import TypicalImage, choose_image
from modules.settings import ImageLimits, ImageTable, ModelSettings

SMALL = ImageLimits(least=10, most=64)
NAMES = get_args(ModelSettings.model_fields["name"].annotation)
sides = st.integers(1, 10_000)
limits = st.builds(
    lambda least, multiple: ImageLimits(least=least, most=4 * (least + multiple)),
    st.integers(1, 200),
    st.integers(0, 100),
)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (28, 28, (28, 28)),  # digits
        (30, 45, (30, 45)),  # small: nothing is resampled
        (64, 64, (64, 64)),
        (375, 500, (48, 64)),  # 64/500 · 375 = 48
        (500, 375, (64, 48)),
        (427, 640, (44, 64)),  # 64/640 · 427 = 42.7, to a multiple of 4
        (65, 65, (64, 64)),
        (8, 8, (12, 12)),  # at least 10, and a multiple of 4
        (8, 12, (12, 16)),  # 10/8 · 12 = 15
        (100, 1000, (32, 64)),  # no slimmer than 1:2
        (1000, 100, (64, 32)),
        (10, 60, (32, 60)),  # half of 60 is 30; only this side is changed
    ],
)
def test_sides(height: int, width: int, expected: tuple[int, int]) -> None:
    image = choose_image(ImageTable(), TypicalImage(height, width, 3), SMALL)
    assert (image.height, image.width) == expected


@pytest.mark.parametrize(("seen", "expected"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_alpha_is_no_channel(seen: int, expected: int) -> None:
    assert choose_image(ImageTable(), TypicalImage(28, 28, seen), SMALL).channels == expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"height": 30}, (30, 40, 3)),
        ({"width": 30}, (24, 30, 3)),  # 22.5, to a multiple of 4
        ({"height": 300}, (300, 400, 3)),  # as large as the user wants
        ({"width": 4096}, (3072, 4096, 3)),
        ({"channels": 1}, (48, 64, 1)),
        ({"height": 17, "width": 91}, (17, 91, 3)),
        ({"height": 17, "width": 91, "channels": 1}, (17, 91, 1)),
    ],
)
def test_what_is_given_stays(table: dict, expected: tuple[int, int, int]) -> None:
    image = choose_image(ImageTable(**table), TypicalImage(750, 1000, 3), SMALL)
    assert (image.height, image.width, image.channels) == expected


def test_the_largest_side_that_there_is() -> None:
    image = choose_image(ImageTable(height=4096), TypicalImage(4096, 8192, 3), SMALL)
    assert (image.height, image.width) == (4096, 4096)


@given(height=sides, width=sides, limits=limits)
def test_no_side_is_outside_of_the_limits_and_the_image_keeps_its_form(height, width, limits):
    typical = TypicalImage(height, width, 3)
    image = choose_image(ImageTable(), typical, limits)
    assert limits.least <= min(image.height, image.width)
    assert max(image.height, image.width) <= limits.most
    form = min(max(width / height, 1 / 2), 2)
    # Each side is at most 2 pixels off, or 4 where the least is rounded up.
    off = 4 / min(image.height, image.width)
    assert form * (1 - off) / (1 + off) <= image.width / image.height
    assert image.width / image.height * (1 - off) <= form * (1 + off)
    # Images of the chosen size would stay as they are.
    again = choose_image(ImageTable(), TypicalImage(image.height, image.width, 3), limits)
    if 1 / 2 <= image.width / image.height <= 2:
        assert again == image


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", ["none", "/a/file.weights.h5"])
@given(height=sides, width=sides)
def test_the_network_can_take_what_is_chosen(name, weights, height, width) -> None:
    preset = "a/preset" if name == "keras_hub" else None
    model = ModelSettings(name=name, weights=weights, preset=preset)
    assert model.image_limits.most % 4 == 0
    assert model.image_limits.most >= 2 * model.image_limits.least
    model.check_image(
        choose_image(ImageTable(), TypicalImage(height, width, 3), model.image_limits)
    )
