"""The number of steps from the size of the data, and the file that says why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from modules.settings import ImageSettings, TrainingSettings
from modules.training.choices import choose, choose_steps, choose_validate_every, write_choices


@pytest.mark.parametrize(
    ("images", "classes", "batch", "expected"),
    [
        (4000, 10, 384, 625),  # 60 · 4000 / 384
        (60_000, 10, 384, 3125),  # 6000 of a class: 20 passes
        (8000, 10, 400, 600),  # 800 of a class: 30 passes
        (500, 10, 384, 300),
        (10, 2, 384, 300),
        (60_000, 12_000, 384, 6000),
    ],
)
def test_known_sizes(images: int, classes: int, batch: int, expected: int) -> None:
    assert choose_steps(images, classes, batch) == expected


COUNTS = st.integers(1, 10**7)


@given(images=COUNTS, classes=COUNTS, batch=st.integers(1, 10**5))
def test_within_bounds_and_never_fewer_for_more_or_for_smaller_batches(
    images, classes, batch
) -> None:
    classes = min(classes, images)
    steps = choose_steps(images, classes, batch)
    assert 300 <= steps <= 6000
    assert choose_steps(2 * images, 2 * classes, batch) >= steps
    assert choose_steps(images, classes, 2 * batch) <= steps
    assert 1 <= choose_validate_every(steps) <= steps


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 images of 0 classes"):
        choose_steps(0, 0, 384)


SIZES = [400] * 10


def test_only_what_is_left_open_is_chosen_and_written_down(tmp_path) -> None:
    steps, batch_size, choices = choose(TrainingSettings(), ImageSettings(), SIZES)
    write_choices(str(tmp_path / "run"), choices)
    assert json.loads((tmp_path / "run/choices.json").read_text()) == {
        "batch_size": {"value": 384, "why": "images of 28 × 28 pixels"},
        "steps": {
            "value": 625,
            "why": "4000 images of 10 classes in batches of 384: each is seen 60.0 times",
        },
        "validate_every": {"value": 63, "why": "a tenth of the steps"},
    }
    assert (steps, batch_size) == (625, 384)

    given = TrainingSettings(steps=7, validate_every=2, batch_size=60)
    assert choose(given, ImageSettings(), SIZES) == (7, 60, {})
    steps, _, choices = choose(TrainingSettings(minutes=2.5), ImageSettings(), SIZES)
    assert steps is None
    assert {name: choice.value for name, choice in choices.items()} == {
        "batch_size": 384,
        "steps": None,
        "validate_every": None,
    }
    assert "minutes = 2.5" in choices["steps"].why


def test_steps_follow_the_batches_that_are_trained_on() -> None:
    of_classes = TrainingSettings(batches="classes", classes_per_batch=50)
    steps, _, choices = choose(of_classes, ImageSettings(), SIZES)
    assert steps == 60 * 4000 / 200
    assert choices.keys() == {"steps", "validate_every"}
    photographs = ImageSettings(height=128, width=128, channels=3)
    steps, batch_size, _ = choose(TrainingSettings(), photographs, SIZES)
    assert (steps, batch_size) == (60 * 4000 / 96, 96)


def test_a_warm_up_longer_than_the_chosen_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps is 700 and steps is 625"):
        choose(TrainingSettings(mining="hard", warmup_steps=700), ImageSettings(), SIZES)
