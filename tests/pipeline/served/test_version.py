"""Finding a version, opening it, embedding and searching with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime import NotRunError
from pipeline.served import VersionError, list_versions, newest_version, open_version
from tests.pipeline.served.served_versions import (
    GALLERY,
    QUERIES,
    moving_webp,
    neighbours_by_loop,
    write_model,
)

DIGIT = GALLERY[0][0]


def test_the_newest_version_is_that_with_the_greatest_number(tmp_path: Path) -> None:
    for name in ("9", "10", ".incoming-11", "12", "x", "²"):
        (tmp_path / name).mkdir()
        if name != "12":  # as an object store shows a push that goes on
            (tmp_path / name / "saved_model.pb").touch()
    assert list_versions(str(tmp_path)) == [f"{tmp_path}/9", f"{tmp_path}/10"]
    assert newest_version(f"{tmp_path}/") == f"{tmp_path}/10"
    assert newest_version(f"{tmp_path}/9/") == f"{tmp_path}/9"
    with pytest.raises(NotRunError, match="nothing was pushed"):
        newest_version(str(tmp_path / "none"))


def test_neighbours_are_those_of_the_definition(version) -> None:
    embedded = version.embed([image for image, _, _ in QUERIES])
    assert embedded.rows.tolist() == list(range(10))
    for (image, _, _), found in zip(QUERIES, version.search(embedded.vectors, 7), strict=True):
        assert [(n.id, n.label, n.distance) for n in found] == neighbours_by_loop(image, GALLERY, 7)
    assert version.name == "7"


def test_bad_images_are_named_and_the_others_are_embedded(version) -> None:
    cut = DIGIT[:100]
    images = [b"", DIGIT, b"no image", cut, GALLERY[1][0], moving_webp()]
    embedded = version.embed(images)
    assert embedded.rows.tolist() == [1, 4, 5]
    assert list(embedded.faults) == [0, 2, 3]
    assert "empty" in embedded.faults[0]
    assert "first bytes" in embedded.faults[2]
    assert embedded.faults[3]
    # Each as if it were alone; of the animation the first frame counts.
    np.testing.assert_array_equal(embedded.vectors[0], version.embed([DIGIT]).vectors[0])
    assert version.embed([b"no image"]).vectors.shape == (0, 0)
    assert version.embed([]).faults == {}


def test_an_image_that_is_too_large_is_not_decoded(version_folder) -> None:
    strict = open_version(str(version_folder), max_pixels=28 * 28 - 1)
    assert "declares 28 × 28 pixels" in strict.embed([DIGIT]).faults[0]


def test_a_version_without_an_index_embeds_and_says_why_it_does_not_search(model) -> None:
    version = open_version(str(model))
    assert version.index is None
    vectors = version.embed([DIGIT]).vectors
    with pytest.raises(VersionError, match=r"no index.*table \[index\]"):
        version.search(vectors, 1)


def test_what_does_not_belong_together_is_not_opened(version_folder, tmp_path: Path) -> None:
    mixed = tmp_path / "8"
    shutil.copytree(version_folder, tmp_path / "7")
    write_model(mixed, value=0.25)
    shutil.copytree(version_folder / "index", mixed / "index")
    with pytest.raises(
        VersionError, match=r"mixes two models.*model of this index is in version 7"
    ):
        open_version(str(mixed))
    (mixed / "index" / "vectors.faiss").unlink()
    shutil.copy(version_folder / "index" / "index.json", tmp_path / "7" / "index")
    (tmp_path / "7" / "index" / "gallery.parquet").write_bytes(b"PAR1")
    with pytest.raises(VersionError, match="cannot be read"):
        open_version(str(tmp_path / "7"))


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="holds no SavedModel"):
        open_version(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(VersionError, match="cannot be used"):
        open_version(str(tmp_path))
