"""Pair verification against scikit-learn and against counting every threshold by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

from modules.retrieval.definitions import VERIFICATION_NAMES
from modules.retrieval.verification import (
    BINS,
    add_pairs,
    new_histogram,
    verification_metrics,
)
from tests.real_data import digits
from tests.retrieval_oracle import verification

RESOLUTION = 2**-11


def metrics_of(same_distances, different_distances) -> dict[str, float]:
    histogram = new_histogram()
    for row, distances in enumerate((same_distances, different_distances)):
        distances = np.array(distances, np.float32)
        add_pairs(histogram, distances, np.full(distances.shape, row == 0))
    return verification_metrics(histogram)


def binned(distances: np.ndarray) -> np.ndarray:
    """Each distance's bin, found by counting each on its own."""
    bins = []
    histogram = new_histogram()
    for distance in distances.astype(np.float32):
        add_pairs(histogram, distance.reshape(1), np.array([True]))
        (place,) = np.flatnonzero(histogram[0])
        histogram[0, place] = 0
        bins.append(place)
    return np.array(bins)


@pytest.fixture(scope="module")
def pixel_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of all pairs of 60 real digits, as unit vectors of pixels, and `same`."""
    images, labels, _ = zip(*digits(6), strict=True)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image)), np.float32) for image in images])
    pixels = pixels.reshape(len(images), -1)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    first, second = np.triu_indices(len(images), 1)
    labels = np.array(labels)
    distances = np.square(pixels[first] - pixels[second]).sum(axis=1)
    return distances, labels[first] == labels[second]


def test_real_digits_against_scikit_learn(pixel_pairs):
    distances, same = pixel_pairs
    histogram = new_histogram()
    add_pairs(histogram, distances, same)
    values = verification_metrics(histogram)
    bins = binned(distances)
    far, tar, _ = roc_curve(same, -bins, drop_intermediate=False)
    assert values["roc_auc"] == pytest.approx(roc_auc_score(same, -bins), abs=1e-12)
    assert 0.7 < values["roc_auc"] < 0.95
    for rate in (0.1, 0.01, 0.001):
        assert values[f"tar@far={rate}"] == pytest.approx(tar[far <= rate].max(), abs=1e-12)
    nearest = np.argmin(np.abs(far - (1 - tar)))
    assert values["eer"] == pytest.approx((far[nearest] + 1 - tar[nearest]) / 2, abs=0.01)
    # The bins change little: the distances themselves give nearly the same.
    assert values["roc_auc"] == pytest.approx(roc_auc_score(same, -distances), abs=1e-3)
    threshold = values["eer_threshold"]
    assert (distances[~same] < threshold).mean() >= (distances[same] >= threshold).mean()
    below = threshold * (1 - RESOLUTION)  # the next threshold there is, or lower
    assert (distances[~same] < below).mean() < (distances[same] >= below).mean()


small = st.lists(st.integers(0, 12), min_size=1, max_size=15)


@settings(deadline=None, max_examples=150)
@given(small, small)
def test_any_pairs_against_the_brute_force(same, different):
    values = metrics_of(same, different)
    expected = verification(same, different)
    # The upper edge of the bin.
    assert values["eer_threshold"] == pytest.approx(expected.pop("eer_threshold"), rel=RESOLUTION)
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, width=32, allow_infinity=True), min_size=1, max_size=30))
def test_bins_keep_the_order_and_the_resolution(distances):
    ordered = np.sort(np.array(distances, np.float32))
    bins = binned(ordered)
    assert (np.diff(bins) >= 0).all()
    assert bins.max() < BINS
    normal = (ordered[:-1] >= np.finfo(np.float32).tiny) & np.isfinite(ordered[1:])
    apart = ordered[1:].astype(np.float64) >= ordered[:-1].astype(np.float64) * (1 + RESOLUTION)
    assert (np.diff(bins)[normal & apart] > 0).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_parts_add_up(seed, parts):
    generator = np.random.default_rng(seed)
    distances = generator.gamma(2, 1e-3, size=(40, 5)).astype(np.float32)
    same = generator.random((40, 5)) < 0.3
    whole = new_histogram()
    add_pairs(whole, distances, same)
    summed = new_histogram()
    for piece in np.array_split(generator.permutation(40), parts):
        of_piece = new_histogram()
        add_pairs(of_piece, distances[piece], same[piece])
        summed += of_piece
    np.testing.assert_array_equal(whole, summed)
    np.testing.assert_array_equal(whole.sum(axis=1), [same.sum(), (~same).sum()])
    # Counting each pair twice changes no metric.
    assert verification_metrics(2 * whole) == pytest.approx(
        verification_metrics(whole), nan_ok=True
    )


def test_more_pairs_than_are_counted_at_once():
    distances = np.repeat(np.array([1, 2, 3, 4], np.float32), 400_000).reshape(4, -1)
    same = np.zeros(distances.shape, bool)
    same[:2, :300_000] = True
    histogram = new_histogram()
    add_pairs(histogram, distances, same)
    filled = np.flatnonzero(histogram.any(axis=0))
    np.testing.assert_array_equal(histogram[0, filled], [300_000, 300_000, 0, 0])
    np.testing.assert_array_equal(histogram[1, filled], [100_000, 100_000, 400_000, 400_000])


def test_values_by_hand():
    values = metrics_of([1, 2, 5], [2, 4, 8, 9])
    # Of 12 pairs of pairs: 1 wins 4, 2 wins 3 and ties once, 5 wins 2.
    assert values["roc_auc"] == pytest.approx((4 + 3.5 + 2) / 12)
    assert values["tar@far=0.1"] == pytest.approx(1 / 3)
    # Up to 2: FAR 1/4, FRR 1/3. Up to 4: FAR 2/4, FRR 1/3. In between at FAR = FRR = 1/3.
    assert values["eer"] == pytest.approx(1 / 3)
    assert 4 < values["eer_threshold"] <= 4 * (1 + RESOLUTION)


def test_a_perfect_and_a_wrong_model():
    perfect = metrics_of([0.1, 0.2], [0.3, 0.4])
    assert perfect["roc_auc"] == perfect["tar@far=0.001"] == 1
    assert perfect["eer"] == 0
    assert 0.2 < perfect["eer_threshold"] < 0.3
    wrong = metrics_of([0.3, 0.4], [0.1, 0.2])
    assert wrong["roc_auc"] == wrong["tar@far=0.1"] == 0
    assert wrong["eer"] == 1


def test_an_embedding_collapsed_to_one_point_is_chance():
    values = metrics_of([0, 0, 0], [0, 0])
    assert values["roc_auc"] == values["eer"] == 1 / 2
    assert values["tar@far=0.1"] == 0


def test_nan_and_infinity_are_farthest_and_the_sign_of_rounding_is_ignored():
    negative_nan = np.array([0xFFC00000], np.uint32).view(np.float32)[0]
    assert metrics_of([negative_nan, np.nan, np.inf], [3e38])["roc_auc"] == 0
    assert metrics_of([np.nan], [np.inf])["roc_auc"] == 1 / 2
    assert metrics_of([-0.0, -1e-9], [1e-3])["roc_auc"] == 1


@pytest.mark.parametrize(("same", "different"), [([], [1.0]), ([1.0], []), ([], [])])
def test_without_one_kind_of_pair_nothing_is_defined(same, different):
    values = metrics_of(same, different)
    assert list(values) == list(VERIFICATION_NAMES)
    assert all(np.isnan(value) for value in values.values())


def test_wrong_shapes_and_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"float32 \(2,\) and bool \(3,\)"):
        add_pairs(new_histogram(), np.zeros(2, np.float32), np.zeros(3, bool))
    with pytest.raises(ValueError, match="got float64"):
        add_pairs(new_histogram(), np.zeros(2), np.zeros(2, bool))
