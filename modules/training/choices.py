"""What a training chooses by itself where the settings leave it open, and the file that says so."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from modules.batches import choose_batch_size
from modules.settings import ImageSettings, TrainingSettings
from modules.storage import write_file

CHOICES_FILE = "choices.json"

# An image is seen so often, and classes of few images the more often the fewer they have: it is
# the classes that a network has to tell apart.
_PASSES = (20, 60)
_IMAGES_OF_A_CLASS = 24_000  # seen in all, between these bounds
_STEPS = (300, 6000)
_VALIDATIONS = 10


class Choice(NamedTuple):
    """A value, and why it is this one.

    Attributes:
        value: None if it is settled later; the reason says when.
        why: A sentence.
    """

    value: int | float | str | None
    why: str


def choose_steps(images: int, classes: int, batch_images: int) -> int:
    """How many steps a training takes, from the size of its data alone.

    Every image is seen 24000 / (images per class) times, but 20 times at least and 60 at most; and
    there are 300 steps at least and 6000 at most.

    Args:
        images: Of the training.
        classes: Of these images.
        batch_images: Those that a step learns from.

    Returns:
        The number of steps.

    Raises:
        ValueError: One of the numbers is below 1.

    >>> choose_steps(4000, 10, 384)
    625
    >>> choose_steps(60_000, 10, 384)
    3125
    """
    if min(images, classes, batch_images) < 1:
        raise ValueError(
            f"Steps cannot be chosen for {images} images of {classes} classes in batches of "
            f"{batch_images}. Is there anything to learn from?"
        )
    passes = _within(_IMAGES_OF_A_CLASS * classes / images, _PASSES)
    return round(_within(math.ceil(images * passes / batch_images), _STEPS))


def choose_validate_every(steps: int) -> int:
    """A tenth of the steps, rounded up."""
    return max(1, math.ceil(steps / _VALIDATIONS))


class Choices(NamedTuple):
    """What `choose` chose.

    Attributes:
        steps: Of the training, None if `settings.minutes` decides.
        batch_size: Images in a batch of triplets.
        made: By key of `[training]`, without the keys that are given.
    """

    steps: int | None
    batch_size: int
    made: dict[str, Choice]


def choose(settings: TrainingSettings, image: ImageSettings, sizes: Collection[int]) -> Choices:
    """Chooses what the settings leave open.

    Args:
        settings: Of the training.
        image: What the network sees.
        sizes: The number of images of each class.

    Returns:
        The choices.

    Raises:
        ValueError: The warm-ups of the settings are longer than the training.
    """
    made: dict[str, Choice] = {}
    batch_size = settings.batch_size or choose_batch_size(image)
    if settings.batches == "triplets" and settings.batch_size is None:
        made["batch_size"] = Choice(batch_size, f"images of {image.height} × {image.width} pixels")
    steps = settings.steps
    if steps is None and settings.minutes is not None:
        made["steps"] = Choice(
            None, f"as many as fit into minutes = {settings.minutes:g}; training.json counts them"
        )
    elif steps is None:
        of_classes = settings.classes_per_batch * settings.images_per_class
        batch_images = batch_size if settings.batches == "triplets" else of_classes
        images = sum(sizes)
        steps = choose_steps(images, len(sizes), batch_images)
        made["steps"] = Choice(
            steps,
            f"{images} images of {len(sizes)} classes in batches of {batch_images}: each is seen "
            f"{steps * batch_images / images:.1f} times",
        )
    if steps is not None:
        settings.check_steps(steps)
    if settings.validate_every is None:
        every = None if steps is None else choose_validate_every(steps)
        made["validate_every"] = Choice(every, "a tenth of the steps")
    return Choices(steps, batch_size, made)


def write_choices(folder: str, choices: Mapping[str, Choice]) -> None:
    """Writes `choices.json`: per key its `value` and `why`.

    Args:
        folder: Local, or a URI that TensorFlow can write to.
        choices: By key.
    """
    content = {key: choice._asdict() for key, choice in choices.items()}
    write_file(f"{folder}/{CHOICES_FILE}", json.dumps(content, indent=2).encode())


def _within(value: float, bounds: tuple[int, int]) -> float:
    return min(max(value, bounds[0]), bounds[1])
