"""Classes turned and mirrored as classes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings as hypothesis_settings, strategies as st

from modules.images import (
    Augmentation,
    decode_images,
    draw_orientations,
    label_orientations,
    orientations_of,
)
from modules.settings import AugmentationSettings, ImageSettings
from tests.real_data import digits

NOTHING = dict.fromkeys(("max_shift", "max_rotation", "max_zoom", "max_shear"), 0.0)
BOTH = AugmentationSettings(**NOTHING, turn_classes=True, mirror_classes=True)
INT64 = st.integers(-(2**63), 2**63 - 1)


def images() -> np.ndarray:
    encoded = tf.constant([image for image, _, _ in digits(3)])
    return decode_images(encoded, ImageSettings()).numpy()


@pytest.mark.parametrize(
    ("orientation", "height"), [*((o, 28) for o in range(8)), *((o, 20) for o in (0, 2, 4, 6))]
)
def test_an_orientation_moves_pixels_as_numpy_does(orientation: int, height: int) -> None:
    """The mirror first, then the quarter turns about the centre."""
    before = images()[:, :height]
    upright = before[:, :, ::-1] if orientation >= 4 else before
    wanted = np.rot90(upright, orientation % 4, axes=(1, 2))
    layer = Augmentation(BOTH)
    orientations = tf.fill([len(before)], orientation)
    found = layer(tf.constant(before), seed=tf.constant([0, 1]), orientations=orientations)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_an_oblong_turned_by_a_quarter_keeps_its_size() -> None:
    before = images()[:, :20]
    layer = Augmentation(BOTH)
    found = layer(
        tf.constant(before), seed=tf.constant([0, 1]), orientations=tf.ones([30], tf.int32)
    )
    turned = np.rot90(before, axes=(1, 2))  # 28 rows of 20; rows 4 to 23 are in sight
    np.testing.assert_allclose(found[:, :, 4:24], turned[:, 4:24], atol=1e-4)


@given(st.lists(INT64, min_size=1, max_size=30), st.integers(0, 2**40), st.integers(0, 2**40))
@hypothesis_settings(max_examples=25, deadline=None)
def test_equal_labels_are_turned_alike(labels: list[int], seed: int, step: int) -> None:
    of_step = tf.constant([seed, step], tf.int64)
    found = draw_orientations(tf.constant(labels, tf.int64), of_step, BOTH).numpy()
    again = draw_orientations(tf.constant(labels[::-1], tf.int64), of_step, BOTH).numpy()[::-1]
    np.testing.assert_array_equal(found, again)  # whatever stands beside it
    for label in set(labels):
        assert len({int(o) for o, own in zip(found, labels, strict=True) if own == label}) == 1
    assert set(found) <= set(range(8))


@pytest.mark.parametrize(
    ("given_settings", "allowed"),
    [
        ({}, [0]),
        ({"turn_classes": True}, [0, 1, 2, 3]),
        ({"mirror_classes": True}, [0, 4]),
        ({"turn_classes": True, "mirror_classes": True}, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_all_orientations_come_equally_often(given_settings: dict[str, Any], allowed: list) -> None:
    settings = AugmentationSettings(**given_settings)
    assert orientations_of(settings) == allowed
    labels = tf.range(4000, dtype=tf.int64)
    steps = [
        draw_orientations(labels, tf.constant([3, step], tf.int64), settings).numpy()
        for step in range(2)
    ]
    for found in steps:
        shares = np.bincount(found, minlength=8)[allowed] / len(found)
        np.testing.assert_allclose(shares, 1 / len(allowed), atol=0.03)
    # The draws of two steps have nothing to do with each other.
    assert (steps[0] == steps[1]).mean() == pytest.approx(1 / len(allowed), abs=0.03)


@given(st.lists(INT64, min_size=1, max_size=9, unique=True))
@hypothesis_settings(max_examples=25, deadline=None)
def test_each_class_in_each_orientation_has_its_own_label(labels: list[int]) -> None:
    found = label_orientations(tf.constant(labels, tf.int64)[:, None], tf.range(8)).numpy()
    np.testing.assert_array_equal(found[:, 0], labels)
    for of_class in found:
        assert len(set(of_class.tolist())) == 8


def test_a_mirrored_image_is_of_the_same_class_or_of_another() -> None:
    with pytest.raises(ValueError, match="set one of them"):
        AugmentationSettings(horizontal_flip=True, mirror_classes=True)
