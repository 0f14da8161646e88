"""Random changes of training images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from scipy.spatial.transform import Rotation
from sklearn.datasets import load_sample_images

from modules.images import decode_images
from modules.images.augmentation import Augmentation
from modules.settings import AugmentationSettings, ImageSettings
from tests.real_data import digits

SIZE = 41
CENTRE = (SIZE - 1) / 2
SEED = tf.constant([0, 7], tf.int64)


EVERYTHING = {
    "max_shift": 0.1, "max_rotation": 0.1, "max_zoom": 0.1, "max_shear": 0.1, "max_crop": 0.5,
    "max_stretch": 0.3, "horizontal_flip": True, "max_brightness": 0.1, "max_contrast": 0.1,
    "max_erased": 0.1,
}  # fmt: skip
COLOURS = {"max_saturation": 0.4, "max_hue": 0.1}
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


def photographs(count: int, step: int = 9) -> np.ndarray:
    """The same part of a photograph so often, its channels about 0 as after standardising."""
    china, _ = load_sample_images().images
    photo = china[:360:step, :540:step].astype(np.float32) / 100 - 1
    return np.repeat(photo[None], count, 0)


def test_without_settings_nothing_changes() -> None:
    np.testing.assert_array_equal(augment(real_digits()), real_digits())
    np.testing.assert_array_equal(augment(photographs(2)), photographs(2))


def test_the_least_strength_is_next_to_nothing() -> None:
    keys = [key for key in EVERYTHING | COLOURS if key != "horizontal_flip"]
    found = augment(photographs(4), **dict.fromkeys(keys, 1e-30))
    np.testing.assert_allclose(found, photographs(4), atol=1e-4)


def windows(size: tuple[int, int], count: int, **settings: float) -> np.ndarray:
    """What is kept of each image: left, top, right, bottom as shares of the sides, [N, 4].

    Images of ramps tell it: a pixel's two channels are its own coordinates, and so are those of
    the same ramps scaled.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    ramps = np.repeat(np.stack([x, y], -1)[None].astype(np.float32), count, 0)
    found = augment(ramps, **settings)
    # Away from the edge, where there is nothing to interpolate with.
    a, b = found[:, height // 4, width // 4], found[:, -height // 4, -width // 4]
    places = np.array(
        [[width // 4, height // 4], [width - -(-width // 4), height - -(-height // 4)]]
    )
    slope = (b - a) / (places[1] - places[0])
    start = a - slope * (places[0] + 0.5) + 0.5
    sides = np.array([width, height])
    return np.concatenate([start / sides, (start + slope * sides) / sides], axis=1)


@given(
    crop=st.floats(0, 0.95), stretch=st.floats(0, 3),
    size=st.tuples(st.integers(16, 48), st.integers(16, 48)),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_windows_lie_inside_and_keep_what_is_promised(crop, stretch, size) -> None:
    left, top, right, bottom = windows(size, 200, max_crop=crop, max_stretch=stretch).T
    assert min(left.min(), top.min()) > -1e-3
    assert max(right.max(), bottom.max()) < 1 + 1e-3
    width, height = right - left, bottom - top
    assert (width * height).min() > min(1 - crop, 1 / (1 + stretch)) - 1e-3
    ratio = width / height
    assert max(ratio.max(), (1 / ratio).max()) < (1 + stretch) * 1.01


def test_windows_have_any_size_form_and_place() -> None:
    left, top, right, bottom = windows((40, 60), 2000, max_crop=0.8, max_stretch=1 / 3).T
    width, height = right - left, bottom - top
    area = width * height
    # Uniform in 0.2…1: mean 0.6, a tenth below 0.28; sides of 1 cost a little of the largest.
    assert area.min() == pytest.approx(0.2, abs=0.01)
    assert area.max() > 0.97
    assert area.mean() == pytest.approx(0.6, abs=0.03)
    assert np.mean(area < 0.28) == pytest.approx(0.1, abs=0.02)
    ratio = np.log(width / height) / math.log(4 / 3)
    assert (ratio.min(), ratio.max()) == pytest.approx((-1, 1), abs=0.02)
    small = area < 0.5  # of which no side is cut
    assert ratio[small].std() == pytest.approx(1 / math.sqrt(3), abs=0.03)
    for start, side in ((left, width), (top, height)):
        place = start[small] / (1 - side[small])
        assert place.mean() == pytest.approx(0.5, abs=0.03)
        assert place.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_a_crop_is_the_window_resampled() -> None:
    """Against a loop over the pixels, with the windows that the ramps found."""
    size = (40, 60)
    images = photographs(6)
    found = augment(images, max_crop=0.8, max_stretch=0.5)
    for window, image, crop in zip(
        windows(size, 6, max_crop=0.8, max_stretch=0.5), images, found, strict=True
    ):
        left, top, right, bottom = window
        for y in range(0, size[0], 3):
            for x in range(0, size[1], 3):
                at = np.array(
                    [
                        (top + (bottom - top) * (y + 0.5) / size[0]) * size[0] - 0.5,
                        (left + (right - left) * (x + 0.5) / size[1]) * size[1] - 0.5,
                    ]
                ).clip(0, np.array(size) - 1)
                y0, x0 = (int(place) for place in np.minimum(at, np.array(size) - 2))
                dy, dx = at - (y0, x0)
                expected = (1 - dy) * ((1 - dx) * image[y0, x0] + dx * image[y0, x0 + 1]) + dy * (
                    (1 - dx) * image[y0 + 1, x0] + dx * image[y0 + 1, x0 + 1]
                )
                np.testing.assert_allclose(crop[y, x], expected, atol=2e-3)


def test_what_a_crop_shows_is_shifted_turned_and_mirrored() -> None:
    """A crop first: its window is scaled to the whole, then this is moved like an image."""
    moves = {"max_shift": 0.1, "max_rotation": 0.05, "max_zoom": 0.1, "max_shear": 0.1}
    smooth = np.repeat(spots(1, 3, -2) + spots(1, -6, 5) / 2, 16, 0)
    both = augment(smooth, max_crop=0.5, **moves)
    in_turn = augment(augment(smooth, max_crop=0.5), **moves)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    # Two resamplings blur a little more than one.
    np.testing.assert_allclose(both[inner], in_turn[inner], atol=0.1)
    assert np.abs(both - in_turn)[inner].mean() < 0.01
    assert np.abs(both - augment(smooth, **moves)).max() > 0.3


def colour_maps(**settings: float) -> np.ndarray:
    """The matrix that each image's colours went through, [N, 3, 3]."""
    images = photographs(300)
    found = augment(images, **settings).reshape(300, -1, 3)
    rows = images.reshape(300, -1, 3)[0]
    maps = np.stack([np.linalg.lstsq(rows, one, rcond=None)[0].T for one in found])
    np.testing.assert_allclose(rows @ maps.transpose(0, 2, 1), found, atol=1e-3)
    return maps


def test_saturation_scales_what_parts_a_pixel_from_grey() -> None:
    maps = colour_maps(max_saturation=0.6)
    factors = (maps.trace(axis1=1, axis2=2) - 1) / 2
    grey = np.full([3, 3], 1 / 3)
    expected = factors[:, None, None] * np.eye(3) + (1 - factors)[:, None, None] * grey
    np.testing.assert_allclose(maps, expected, atol=1e-3)
    assert (factors.min(), factors.max()) == pytest.approx((0.4, 1.6), abs=0.02)


def test_hue_turns_about_grey() -> None:
    maps = colour_maps(max_hue=0.25)
    turns = Rotation.from_matrix(maps).as_rotvec()
    axis = turns.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(turns - axis, 0, atol=1e-3)
    angles = axis[:, 0] * math.sqrt(3) / (2 * math.pi)
    np.testing.assert_allclose(Rotation.from_rotvec(turns).as_matrix(), maps, atol=1e-3)
    assert (angles.min(), angles.max()) == pytest.approx((-0.25, 0.25), abs=0.01)


def test_colours_of_grey_images_cannot_be_changed() -> None:
    for key in COLOURS:
        settings = AugmentationSettings(**{key: 0.1})
        settings.check_channels(3)
        with pytest.raises(ValueError, match=f"{key} has no effect on grey images.*channels = 3"):
            settings.check_channels(1)
    AugmentationSettings(max_brightness=0.1).check_channels(1)


@given(
    most=st.floats(0, 0.99), size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 2**40),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_what_is_erased_is_one_rectangle_and_no_larger_than_allowed(most, size, seed) -> None:
    images = np.ones([50, *size, 2], np.float32)
    found = augment(images, tf.constant([seed, 1], tf.int64), max_erased=most)
    for erased in found == 0:
        assert (erased[..., 0] == erased[..., 1]).all()
        rows, columns = erased[..., 0].any(axis=1), erased[..., 0].any(axis=0)
        np.testing.assert_array_equal(erased[..., 0], rows[:, None] & columns[None, :])
        for line in (rows, columns):
            assert np.abs(np.diff(np.r_[0, line, 0])).sum() in (0, 2)
        assert erased[..., 0].sum() <= most * size[0] * size[1]
    np.testing.assert_array_equal(found[found != 0], 1)


def test_anything_may_be_erased() -> None:
    found = augment(np.ones([3000, 32, 48, 1], np.float32), max_erased=0.4)[..., 0] == 0
    shares = found.mean(axis=(1, 2))
    assert 0.37 < shares.max() <= 0.4
    assert shares.mean() == pytest.approx(0.2, abs=0.02)
    everywhere = found.mean(axis=0)
    assert everywhere.min() > 0  # corners the least, since rectangles lie inside
    # From left to right and from top to bottom alike.
    np.testing.assert_allclose(everywhere, everywhere[::-1], atol=0.06)
    np.testing.assert_allclose(everywhere, everywhere[:, ::-1], atol=0.06)


@given(
    strengths=st.fixed_dictionaries(
        {key: st.floats(0, 0.5) for key in EVERYTHING if key != "horizontal_flip"}
    ),
    colours=st.fixed_dictionaries({key: st.floats(0, 0.5) for key in COLOURS}),
    flip=st.booleans(),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=30, deadline=None)
def test_any_strength_leaves_finite_pixels_within_bounds(strengths, colours, flip, seed) -> None:
    images = photographs(3, 20)
    found = augment(
        images, tf.constant([seed, 0], tf.int64), **strengths, **colours, horizontal_flip=flip
    )
    assert found.shape == images.shape
    # Contrast and saturation stretch about a mean, hue turns in a plane, brightness adds.
    light = (1 + strengths["max_contrast"]) * (1 + colours["max_saturation"])
    most = 2 * np.abs(images).max() * 2 * light * math.sqrt(2) + strengths["max_brightness"]
    assert np.abs(found).max() <= most  # and so finite


def test_the_seed_alone_decides_and_each_image_has_its_own_draw() -> None:
    everything = EVERYTHING | COLOURS
    images = photographs(8)
    first = augment(images, **everything)
    np.testing.assert_array_equal(augment(images, **everything), first)
    assert len({image.tobytes() for image in first}) == 8
    assert np.abs(augment(images, tf.constant([0, 8], tf.int64), **everything) - first).max() > 0.1
    # Nor do the other images of the batch, or what else is changed.
    others = images.copy()
    others[1::2] = 0
    np.testing.assert_array_equal(augment(others, **everything)[::2], first[::2])
    for key, value in everything.items():
        alone = augment(images, **{key: value})
        assert np.abs(alone - images).max() > 0.01, key


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
