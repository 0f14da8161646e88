"""`python -m pipeline cluster`: groups against the definition, and the files that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from PIL import Image

from pipeline.commands import main
from pipeline.runtime import ConfigError
from pipeline.served import VersionError, clustering, group_vectors, make_clusters
from tests.modules.index.index_folders import unit_vectors
from tests.pipeline.served.served_versions import GALLERY


def parts(numbers) -> set[frozenset[int]]:
    """The groups as sets of rows."""
    return {frozenset(np.flatnonzero(numbers == n).tolist()) for n in set(numbers.tolist())}


def joined_by_loop(vectors: np.ndarray, distance: float) -> set[frozenset[int]]:
    """Joins the two groups with the least mean squared distance, while that is below the limit."""
    groups = [[row] for row in range(len(vectors))]
    squared = np.square(vectors[:, None].astype(float) - vectors[None]).sum(axis=2)
    while len(groups) > 1:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        means = [squared[np.ix_(groups[a], groups[b])].mean() for a, b in pairs]
        best = int(np.argmin(means))
        if means[best] >= distance:
            break
        a, b = pairs[best]
        groups[b] += groups.pop(a)
    return {frozenset(group) for group in groups}


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 14), st.floats(0.1, 3), st.integers(0, 1000))
def test_agglomerative_groups_are_those_of_the_definition(count, distance, seed) -> None:
    vectors = unit_vectors(count, 3, seed)
    numbers = group_vectors(vectors, "agglomerative", distance=distance)
    assert parts(numbers) == joined_by_loop(vectors, distance)


@pytest.mark.parametrize("method", ["hdbscan", "agglomerative"])
def test_groups_far_from_each_other_are_found_in_any_order(method: str) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4)[:3]
    truth = np.repeat([0, 1, 2], [9, 7, 5])
    vectors = centres[truth] + rng.normal(0, 0.01, (21, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rng.permutation(21)
    options = {"distance": 0.5} if method == "agglomerative" else {"least": 3}
    numbers = group_vectors(np.float32(vectors[order]), method, **options)
    assert parts(numbers) == parts(truth[order])


def test_few_images_are_no_fault() -> None:
    for count in range(3):
        assert group_vectors(unit_vectors(count, 3), "hdbscan").tolist() == [-1] * count
        assert len(group_vectors(unit_vectors(count, 3), "agglomerative", number=5)) == count


def test_groups_are_ordered_and_the_middle_comes_first() -> None:
    vectors = np.float32([[0, 0], [3, 0], [1, 0], [9, 9], [5, 5], [5, 5], [2, 0]])
    numbers = np.array([7, 7, 7, 4, 2, 2, -1])
    clusters = make_clusters(vectors, list("abcdefg"), numbers, {"x": "bad"})
    # The middle of a, b and c is (4/3, 0); their squared distances from it are 16/9, 25/9, 1/9.
    assert [group.images for group in clusters.groups] == [["c", "a", "b"], ["e", "f"]]
    assert clusters.groups[0].spread == pytest.approx((16 + 25 + 1) / 9 / 3)
    assert clusters.alone == ["d", "g"]
    assert clusters.faults == {"x": "bad"}


def test_too_many_images_for_agglomerative_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(clustering, "MOST_AGGLOMERATIVE", 3)
    with pytest.raises(ConfigError, match="4 images are too many"):
        group_vectors(unit_vectors(4, 3), "agglomerative", distance=1.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Digits, each three times, and what is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (image, _, _) in enumerate(GALLERY[::12]):
        for copy in "abc":
            (folder / f"{number}{copy}.png").write_bytes(image)
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def cluster(*arguments):
    return CliRunner().invoke(main, ["cluster", *map(str, arguments)])


def test_copies_of_an_image_are_a_group(version_folder, photos, tmp_path: Path) -> None:
    sheet, picture = tmp_path / "groups.csv", tmp_path / "groups.png"
    shared = (photos, "--model", version_folder, "--method", "agglomerative", "--distance", "0.01")
    done = cluster(*shared, "--csv", sheet, "--preview", picture)
    assert done.exit_code == 3, done.output
    assert "5 groups of 15 images by agglomerative, version 7" in done.stdout
    assert f"error: {photos}/bad.png: neither JPEG" in done.stderr
    rows = list(csv.DictReader(sheet.open()))
    assert {(Path(row["image"]).name, row["group"]) for row in rows} == {
        (f"{number}{copy}.png", str(number + 1)) for number in range(5) for copy in "abc"
    }
    assert Image.open(picture).size[0] > 3 * 96
    values = json.loads(cluster(*shared, "--json").stdout)
    assert [group["spread"] for group in values["groups"]] == [0] * 5
    assert [len(group["images"]) for group in values["groups"]] == [3] * 5
    assert values["left_out"][0]["image"] == f"{photos}/bad.png"


def test_the_calibrated_threshold_is_the_default_distance(
    calibrated, version_folder, photos
) -> None:
    done = cluster(photos, "--model", calibrated, "--method", "agglomerative", "--json")
    assert len(json.loads(done.stdout)["groups"]) == 5
    done = cluster(photos, "--model", version_folder, "--method", "agglomerative")
    with pytest.raises(VersionError, match="Or give --distance or --groups"):
        raise done.exception


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--distance", "1"], "of --method agglomerative"),
        (["--method", "agglomerative", "--least", "2"], "of --method hdbscan"),
        (["--method", "agglomerative", "--distance", "1", "--groups", "2"], "exclude each other"),
    ],
)
def test_an_option_without_an_effect_is_refused(photos, options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        raise cluster(photos, *options).exception
