"""Classes bent out of shape as classes of their own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings as hypothesis_settings, strategies as st

from modules.images import Augmentation, bend, draw_bends
from modules.settings import AugmentationSettings, TrainingSettings

WAVES = [(i, j) for i, j in itertools.product(range(4), range(4)) if 1 <= i + j <= 3]
INT64 = st.integers(-(2**63), 2**63 - 1)


def seeds(seed: int, step: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Of the step, and of its rows."""
    return tf.constant([seed, step], tf.int64), tf.constant([seed + 1, step], tf.int64)


def bent_by_hand(image: np.ndarray, amounts: np.ndarray, most: float) -> np.ndarray:
    """One image, [H, W, C], pixel by pixel."""
    height, width, _ = image.shape
    found = np.empty_like(image)
    for y, x in np.ndindex(height, width):
        moved = []
        for place, side, part in ((y, height, amounts[:9]), (x, width, amounts[9:])):
            across = [
                amount
                * np.cos(np.pi * i * (y + 0.5) / height)
                * np.cos(np.pi * j * (x + 0.5) / width)
                / (i + j)
                for amount, (i, j) in zip(part, WAVES, strict=True)
            ]
            moved.append(np.clip(place + most * side * np.sqrt(3) * sum(across), 0, side - 1))
        (top, left), (down, right) = np.floor(moved).astype(int), np.modf(moved)[0]
        low, far = min(top + 1, height - 1), min(left + 1, width - 1)
        found[y, x] = (
            (1 - down) * ((1 - right) * image[top, left] + right * image[top, far])
            + down * ((1 - right) * image[low, left] + right * image[low, far])
        )  # fmt: skip
    return found


@pytest.mark.parametrize("shape", [(9, 7, 1), (6, 11, 3)])
@pytest.mark.parametrize("most", [0.05, 0.3])
def test_bending_is_what_its_formula_says(shape: tuple[int, int, int], most: float) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=[3, *shape]).astype(np.float32)
    amounts = rng.uniform(-1, 1, [3, 18]).astype(np.float32)
    amounts[2] = 0.0
    found = bend(tf.constant(images), tf.constant(amounts), most).numpy()
    wanted = [bent_by_hand(*one, most) for one in zip(images, amounts, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(found[2], images[2])  # to the last bit
    layer = Augmentation(
        AugmentationSettings(
            max_shift=0, max_rotation=0, max_zoom=0, max_shear=0, bend_classes=most
        )
    )
    through = layer(tf.constant(images), seed=seeds(0, 1)[0], bends=tf.constant(amounts))
    np.testing.assert_array_equal(through, found)


@given(st.lists(INT64, min_size=1, max_size=30), st.integers(0, 2**40), st.integers(0, 2**40))
@hypothesis_settings(max_examples=25, deadline=None)
def test_equal_new_labels_are_bent_alike(labels: list[int], seed: int, step: int) -> None:
    """A class becomes two at most, and no two classes become one."""
    of_step, of_rows = seeds(seed, step)
    twice = labels * 2
    found, amounts = (
        part.numpy() for part in draw_bends(tf.constant(twice, tf.int64), of_step, of_rows)
    )
    bent: dict[int, np.ndarray] = {}
    came_from: dict[int, int] = {}
    for old, new, amount in zip(twice, found.tolist(), amounts, strict=True):
        np.testing.assert_array_equal(bent.setdefault(new, amount), amount)
        assert came_from.setdefault(new, old) == old
        assert (new == old) == (not amount.any())
    for label in labels:
        assert len({new for new, old in came_from.items() if old == label}) <= 2
    # Which rows stand beside a class, and in which half they are, changes nothing of its bends.
    again, others = draw_bends(tf.constant(labels, tf.int64), of_step, of_rows + 5)
    for new, amount in zip(again.numpy().tolist(), others.numpy(), strict=True):
        if new in bent:
            np.testing.assert_array_equal(bent[new], amount)


def test_how_often_and_how_much() -> None:
    """A quarter stays straight; else amounts are uniform in −1…1, of mean 0 and variance 1/3."""
    labels = tf.range(4000, dtype=tf.int64)
    steps = [draw_bends(labels, *seeds(3, step)) for step in range(2)]
    for found in steps:
        straight = found.labels.numpy() == labels.numpy()
        assert straight.mean() == pytest.approx(1 / 4, abs=0.03)
        amounts = found.amounts.numpy()[~straight]
        np.testing.assert_allclose(amounts.mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(np.cov(amounts.T), np.eye(18) / 3, atol=0.03)
    # The draws of two steps have nothing to do with each other, nor has a label of one the other's.
    bent = [set(found.labels.numpy().tolist()) - set(range(4000)) for found in steps]
    assert not bent[0] & bent[1]
    first, second = (found.amounts.numpy().ravel() for found in steps)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0, abs=0.03)


def test_a_class_is_parted_in_halves() -> None:
    found = draw_bends(tf.zeros([2000], tf.int64), *seeds(0, 4))
    _, counts = np.unique(found.labels, return_counts=True)
    np.testing.assert_allclose(counts / 2000, [1 / 2, 1 / 2], atol=0.05)


@pytest.mark.parametrize(
    ("others", "said"),
    [({"loss": "proxy_anchor"}, "a point for each class"), ({"mining": "none"}, "the triplets")],
)
def test_what_needs_the_classes_of_the_data_is_refused(others: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainingSettings(bend_classes=0.05, **others)
