"""Random changes of training images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from modules.images import decode_images
from modules.images.augmentation import Augmentation
from modules.settings import AugmentationSettings, ImageSettings
from tests.real_data import digits

SIZE = 41
CENTRE = (SIZE - 1) / 2
SEED = tf.constant([0, 7], tf.int64)


NOTHING = dict.fromkeys(("max_shift", "max_rotation", "max_zoom", "max_shear"), 0.0)


def augment(images: np.ndarray, seed: tf.Tensor = SEED, **settings: float) -> np.ndarray:
    """Changes images in no way but those given."""
    layer = Augmentation(AugmentationSettings(**NOTHING | settings))
    return layer(tf.constant(images), seed=seed).numpy()


def spots(count: int, dx: float, dy: float) -> np.ndarray:
    """The same soft spot in every image, (dx, dy) from the centre."""
    y, x = np.mgrid[:SIZE, :SIZE] - CENTRE
    spot = np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 8)
    return np.repeat(spot[None, :, :, None], count, 0).astype(np.float32)


def centres(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the spots are, from the centre."""
    y, x = np.mgrid[:SIZE, :SIZE] - CENTRE
    mass = images[..., 0].sum(axis=(1, 2))
    return (images[..., 0] * x).sum(axis=(1, 2)) / mass, (images[..., 0] * y).sum(
        axis=(1, 2)
    ) / mass


def real_digits() -> np.ndarray:
    return decode_images(tf.constant([image for image, _, _ in digits(3)]), ImageSettings()).numpy()


def test_without_settings_nothing_changes() -> None:
    np.testing.assert_array_equal(augment(real_digits()), real_digits())


def test_the_seed_alone_decides_and_each_image_has_its_own_draw() -> None:
    everything = {
        "max_shift": 0.1, "max_rotation": 0.1, "max_zoom": 0.1, "max_shear": 0.1,
        "horizontal_flip": True, "max_brightness": 0.1, "max_contrast": 0.1,
    }  # fmt: skip
    images = np.repeat(real_digits()[:1], 8, 0)
    first = augment(images, **everything)
    np.testing.assert_array_equal(augment(images, **everything), first)
    assert len({image.tobytes() for image in first}) == 8
    assert np.abs(augment(images, tf.constant([0, 8], tf.int64), **everything) - first).max() > 0.1


def test_shifts_reach_the_limit_in_all_directions() -> None:
    x, y = centres(augment(spots(500, 0, 0), max_shift=0.2))
    for offset in (x, y):
        assert np.abs(offset).max() <= 0.2 * SIZE + 0.1
        assert offset.min() < -0.19 * SIZE
        assert offset.max() > 0.19 * SIZE
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2


def test_rotation_keeps_the_distance_from_the_centre() -> None:
    x, y = centres(augment(spots(500, 9, 0), max_rotation=0.125))
    np.testing.assert_allclose(np.hypot(x, y), 9, atol=0.1)
    angles = np.arctan2(y, x)
    assert np.abs(angles).max() <= 2 * math.pi / 8 + 0.02
    assert angles.min() < -0.95 * 2 * math.pi / 8
    assert angles.max() > 0.95 * 2 * math.pi / 8


def test_zoom_moves_along_the_ray() -> None:
    x, y = centres(augment(spots(500, 6, 8), max_zoom=0.3))
    factors = np.hypot(x, y) / 10
    assert factors.min() == pytest.approx(0.7, abs=0.02)
    assert factors.max() == pytest.approx(1.3, abs=0.02)
    np.testing.assert_allclose(np.arctan2(y, x), math.atan2(8, 6), atol=0.02)


def test_shear_moves_along_x_by_a_share_of_y() -> None:
    x, y = centres(augment(spots(500, 0, 10), max_shear=0.3))
    np.testing.assert_allclose(y, 10, atol=0.05)
    assert np.abs(x).max() <= 0.3 * 10 + 0.05
    assert x.min() < -0.95 * 0.3 * 10
    assert x.max() > 0.95 * 0.3 * 10
    x, y = centres(augment(spots(500, 10, 0), max_shear=0.3))
    np.testing.assert_allclose([x, y], [np.full(500, 10), np.zeros(500)], atol=0.05)


def test_half_of_the_images_are_mirrored() -> None:
    images = np.repeat(real_digits(), 20, 0)
    changed = augment(images, horizontal_flip=True)
    mirrored = [np.allclose(a, b[:, ::-1], atol=1e-5) for a, b in zip(changed, images, strict=True)]
    kept = [np.allclose(a, b, atol=1e-5) for a, b in zip(changed, images, strict=True)]
    assert all(np.logical_xor(mirrored, kept))
    assert 0.4 < np.mean(mirrored) < 0.6


def test_light_changes_by_a_constant_and_contrast_about_the_mean() -> None:
    images = np.repeat(real_digits(), 20, 0)
    added = augment(images, max_brightness=0.5) - images
    np.testing.assert_allclose(np.ptp(added, axis=(1, 2, 3)), 0, atol=1e-5)
    assert 0.45 < np.abs(added).max() <= 0.5 + 1e-5
    changed = augment(images, max_contrast=0.4)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3), keepdims=True), mean, atol=1e-5)
    factors = changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.6 - 1e-4 <= factors.min() < 0.62
    assert 1.38 < factors.max() <= 1.4 + 1e-4
